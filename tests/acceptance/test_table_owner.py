"""A server whose role owns the tables: it runs, and says so; one that only serves says nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testing.http_client import Caller, serving
from testing.servers.throwaway import as_owner
from testing.worker_processes import MONEY, eventually, workers_on

pytestmark = pytest.mark.acceptance
EVENT = "application_owns_its_tables"


def warnings_in(log: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == EVENT]


@pytest.mark.parametrize("is_owner", [True, False])
def test_only_an_owner_is_warned_of_at_the_start_and_in_the_overview(
    database_url: str,
    broker_url: str,
    cache_url: str,
    admin: Caller,
    tmp_path: Path,
    is_owner: bool,
) -> None:
    url = as_owner(database_url) if is_owner else database_url
    log = tmp_path / "api.log"
    with (
        serving(log=log, DATABASE_URL=url, BROKER_URL=broker_url, CACHE_URL=cache_url) as port,
        workers_on(url, broker_url, cache_url, tmp_path) as workers,
    ):
        [worker] = workers.ready(MONEY)
        caller = Caller(port, admin.api_key)
        eventually(lambda: caller.get("/v1/ops/overview").json()["workers"] is not None)
        shown = caller.get("/v1/ops/overview").json()["warnings"]
    assert len(shown) == is_owner
    assert [line["detail"] for line in warnings_in(log)] == shown
    assert [line["detail"] for line in warnings_in(worker.log)] == shown
    assert all("MIGRATIONS_DATABASE_URL" in warning for warning in shown)
