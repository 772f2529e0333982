"""Polling across an outage: what was buffered appears after the place where the poller was."""

from __future__ import annotations

import pytest

from testing.installation import Installation
from testing.worker_processes import eventually

PATH = "/v1/transfers?order=recorded&limit=3"

pytestmark = pytest.mark.chaos


def test_a_poller_goes_on_across_an_outage_and_misses_nothing(installation: Installation) -> None:
    client, seen, cursor = installation.client, list[str](), ""

    def has_seen(ids: list[str]) -> bool:
        nonlocal cursor
        while True:
            answer = client.get(PATH + cursor)
            assert answer.status_code == 200, answer.text
            cursor = f"&cursor={answer.json()['next_cursor']}"
            page = [transfer["id"] for transfer in answer.json()["data"]]
            seen.extend(page)
            if not page:
                return set(ids) <= set(seen)

    def submit() -> str:
        return str(client.submit(installation.body()).json()["id"])

    before = [submit() for _ in range(4)]
    eventually(lambda: has_seen(before))
    with installation.outage():
        buffered = [submit() for _ in range(5)]
        assert client.get(PATH + cursor).status_code == 503
    after = [submit() for _ in range(4)]
    eventually(lambda: has_seen([*before, *buffered, *after]))
    installation.settles([*before, *buffered, *after])
    has_seen([])
    assert len(seen) == len(set(seen))
