"""Polling over HTTP: `order=recorded` misses nothing, beside batches and single requests."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from testing.http_client import Caller
from testing.worker_processes import eventually
from tests.acceptance.conftest import WalletPair
from tests.acceptance.http.contract import assert_problem

pytestmark = pytest.mark.acceptance

PATH = "/v1/transfers?order=recorded"
BATCHES, BATCH, SINGLES = 4, 5_000, 60


class Poller:
    """Asks for what is new, and goes on from the cursor of the answer."""

    def __init__(self, caller: Caller, *, limit: int = 200) -> None:
        self.caller, self.limit = Caller(caller.port, caller.api_key), limit
        self.cursor: str | None = None
        self.seen: list[str] = []

    def poll(self) -> list[dict[str, Any]]:
        query = f"{PATH}&limit={self.limit}" + (f"&cursor={self.cursor}" if self.cursor else "")
        answer = self.caller.get(query)
        assert answer.status_code == 200, answer.text
        page: list[dict[str, Any]] = answer.json()["data"]
        self.cursor = answer.json()["next_cursor"]
        assert isinstance(self.cursor, str)
        self.seen += [transfer["id"] for transfer in page]
        return page

    def sees(self, ids: list[str]) -> None:
        """Assert that it comes to see exactly these, each once."""

        def has_seen_all() -> bool:
            while self.poll():
                pass
            return len(self.seen) >= len(ids)

        eventually(has_seen_all)
        assert sorted(self.seen) == sorted(ids)


@pytest.fixture
def shop(new_caller: Callable[[str], Caller]) -> Caller:
    return new_caller("client")


def body_of(shop: Caller) -> dict[str, str]:
    source, destination = (
        shop.post("/v1/wallets", {"asset": "USD"}).json()["id"] for _ in range(2)
    )
    return {"source": source, "destination": destination, "amount": "1.00", "asset": "USD"}


def test_a_cursor_is_always_given_and_goes_on_with_what_is_new(shop: Caller) -> None:
    poller, body = Poller(shop, limit=2), body_of(shop)
    assert poller.poll() == []
    ids = [shop.submit(body).json()["transfer_id"] for _ in range(5)]
    poller.sees(ids)
    assert poller.seen == ids  # one after the other, so in this order
    ids += [shop.submit(body).json()["transfer_id"]]
    poller.sees(ids)
    found = Poller(shop).poll()[0]
    assert found == shop.get(f"/v1/transfers?limit=200&wallet={body['source']}").json()["data"][-1]


def test_filters_hold_and_a_state_is_refused(client: Caller, wallet_pair: WalletPair) -> None:
    made = client.submit(wallet_pair.transfer()).json()
    query = f"{PATH}&wallet={wallet_pair.source.id}"
    # The other transfer of this wallet is the one that brought its money.
    eventually(lambda: client.get(query).json()["data"][1:] != [])
    assert client.get(query).json()["data"][1]["id"] == made["id"]
    assert client.get(f"{query}&created_after={made['created_at']}").json()["data"] == []
    problem = assert_problem(client.get(f"{PATH}&state=committed"), 400, "invalid_request")
    assert problem["detail"].startswith("state ")
    assert_problem(client.get("/v1/transfers?order=newest"), 400, "invalid_request")


@pytest.mark.parametrize("number", ["-1", str(2**63), "x", "1e3"])
def test_a_cursor_that_was_made_up_is_refused(shop: Caller, number: str) -> None:
    cursor = shop.get(PATH).json()["next_cursor"]
    assert_problem(shop.get(f"/v1/transfers?cursor={cursor}"), 400, "invalid_request")
    forged = forge(cursor, number)
    assert_problem(shop.get(f"{PATH}&cursor={forged}"), 400, "invalid_request")


def forge(cursor: str, number: str) -> str:
    kind, digest, _, tie = base64.urlsafe_b64decode(cursor + "==").decode().split(":")
    text = f"{kind}:{digest}:{number}:{tie}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_beside_batches_and_single_requests_nothing_is_missed(shop: Caller) -> None:
    body = body_of(shop)

    def batch(_: int) -> list[str]:
        items = [{**body, "idempotency_key": str(uuid.uuid4())} for _ in range(BATCH)]
        caller = Caller(shop.port, shop.api_key)
        answer = caller.post("/v1/transfers/batch", {"transfers": items})
        return [result["error"]["transfer_id"] for result in answer.json()["results"]]

    def single(_: int) -> list[str]:
        return [Caller(shop.port, shop.api_key).submit(body).json()["transfer_id"]]

    poller = Poller(shop)
    with ThreadPoolExecutor(3) as threads:
        writing: list[Future[list[str]]] = []
        for number in range(SINGLES):
            if number % (SINGLES // BATCHES) == 0:
                writing.append(threads.submit(batch, number))
            writing.append(threads.submit(single, number))
        while not all(each.done() for each in writing):
            poller.poll()
    ids = [id for each in writing for id in each.result()]
    assert len(ids) == BATCHES * BATCH + SINGLES
    poller.sees(ids)
