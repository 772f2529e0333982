"""Limits of clients over HTTP: their defaults, and how many transfers one may store."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from sqlalchemy import text

from ledger.postgres.database import autocommit
from testing.http_client import Caller
from testing.worker_processes import eventually
from tests.acceptance.conftest import Unchanged, WalletPair
from tests.acceptance.http.contract import assert_problem
from tests.acceptance.http.limited_api import LimitedApi, caller_from, fresh_address, write

pytestmark = pytest.mark.acceptance

LIMIT, LEFT = "X-RateLimit-Limit", "X-RateLimit-Remaining"


def new_client(limited: LimitedApi, **limits: str) -> tuple[Caller, dict[str, Any]]:
    """Make a client as an admin does. Returns: a caller with its key, and the answer."""
    admin = limited.new_caller(scope="admin", rate_limit="none")
    answer = admin.post("/v1/clients", {"name": "shop", **limits})
    assert answer.status_code == 201
    caller = caller_from(fresh_address(), port=limited.direct, api_key=answer.json()["api_key"])
    return caller, answer.json()


class Shop:
    """A client without a penny: what it submits is rejected, and stored."""

    def __init__(self, limited: LimitedApi, **limits: str) -> None:
        self.limited = limited
        self.caller, self.made = new_client(limited, rate_limit="none", **limits)
        source, destination = (write(self.caller).json()["id"] for _ in range(2))
        self.body = {"source": source, "destination": destination, "amount": "1", "asset": "USD"}

    def items(self, count: int) -> list[dict[str, Any]]:
        return [{**self.body, "idempotency_key": str(uuid.uuid4())} for _ in range(count)]

    def batch(self, items: list[dict[str, Any]], caller: Caller | None = None) -> requests.Response:
        return (caller or self.caller).post("/v1/transfers/batch", {"transfers": items})

    def stored(self) -> int:
        query = text("SELECT count(*) FROM transfers WHERE client_id = :id")
        with autocommit(self.limited.engine) as connection:
            found: int = connection.execute(query, {"id": self.made["id"]}).scalar_one()
        return found


def assert_refused(answer: requests.Response, *, limit: int, left: int) -> None:
    problem = assert_problem(answer, 429, "rate_limited")
    assert f"{limit} per 1 minute" in problem["detail"]
    assert (int(answer.headers[LIMIT]), int(answer.headers[LEFT])) == (limit, left)
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert 0 < int(answer.headers["X-RateLimit-Reset"]) - time.time() <= 62


def test_a_new_client_has_the_limits_of_clients_and_not_of_addresses(limited: LimitedApi) -> None:
    caller, made = new_client(limited)
    assert (made["rate_limit"], made["item_limit"]) == ("600/minute", "60000/minute")
    answers = [write(caller) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {201}
    assert (answers[-1].headers[LIMIT], answers[-1].headers[LEFT]) == ("600", "580")
    elsewhere = caller_from(fresh_address(), port=limited.direct, api_key=caller.api_key)
    assert write(elsewhere).headers[LEFT] == "579"


def test_limits_that_are_given_are_shown_and_hold(limited: LimitedApi) -> None:
    caller, made = new_client(limited, rate_limit="3/minute", item_limit="none")
    assert (made["rate_limit"], made["item_limit"]) == ("3/minute", "none")
    assert [write(caller).status_code for _ in range(4)] == [201, 201, 201, 429]


def test_without_a_limit_of_addresses_new_clients_have_none_either(admin: Caller) -> None:
    made = admin.post("/v1/clients", {"name": "shop"}).json()
    assert (made["rate_limit"], made["item_limit"]) == ("none", "none")


def test_a_batch_over_the_rest_is_refused_as_a_whole(
    limited: LimitedApi, unchanged: Unchanged
) -> None:
    shop = Shop(limited, item_limit="10/minute")
    assert shop.batch(shop.items(6)).status_code == 202
    with unchanged():
        assert_refused(shop.batch(shop.items(5)), limit=10, left=4)
    assert shop.batch(shop.items(4)).status_code == 202  # the refused ones used up nothing
    with unchanged():
        assert_refused(shop.batch(shop.items(1)), limit=10, left=0)
        assert_refused(shop.caller.submit(shop.body), limit=10, left=0)
    assert shop.caller.get("/v1/transfers").status_code == 200


def test_a_batch_larger_than_the_whole_limit_is_told_so(
    limited: LimitedApi, unchanged: Unchanged
) -> None:
    shop = Shop(limited, item_limit="10/minute")
    with unchanged():
        answer = shop.batch(shop.items(11))
        problem = assert_problem(answer, 413, "too_large")
    assert "11 transfers" in problem["detail"]
    assert "10 per 1 minute" in problem["detail"]
    assert (answer.headers[LIMIT], answer.headers[LEFT]) == ("10", "10")
    assert shop.batch(shop.items(10)).status_code == 202


def test_repeats_and_invalid_items_are_free(limited: LimitedApi) -> None:
    shop = Shop(limited, item_limit="10/minute")
    first, wrong = shop.items(6), [{**each, "amount": "0.001"} for each in shop.items(2)]
    strange = [{**each, "destination": str(uuid.uuid4())} for each in shop.items(2)]
    assert shop.batch(first).status_code == 202
    for _ in range(5):
        assert shop.batch(first).status_code == 202
        assert shop.batch(wrong + strange).status_code == 202
    twice = shop.items(1) * 4
    assert shop.batch(twice).status_code == 202
    assert shop.batch(shop.items(3)).status_code == 202
    # Now it is used up, and repeats are free all the same, alone and beside new ones.
    assert shop.batch(first).status_code == 202
    assert_refused(shop.batch(first + shop.items(1)), limit=10, left=0)
    key = first[0]["idempotency_key"]
    assert_problem(shop.caller.submit(shop.body, key=key), 400, "insufficient_funds")
    assert shop.stored() == 10


def test_a_batch_is_let_in_by_the_items_of_it_that_are_new(limited: LimitedApi) -> None:
    shop = Shop(limited, item_limit="10/minute")
    first = shop.items(6)
    shop.batch(first)
    assert shop.batch(first + shop.items(4)).status_code == 202
    assert shop.stored() == 10


def test_the_headers_of_what_is_let_in_are_those_of_writes(limited: LimitedApi) -> None:
    caller, _ = new_client(limited, rate_limit="50/minute", item_limit="1000/minute")
    source, destination = (write(caller).json()["id"] for _ in range(2))
    body = {"source": source, "destination": destination, "amount": "1", "asset": "USD"}
    assert caller.submit(body).headers[LIMIT] == "50"
    assert write(caller).headers[LEFT] == "46"


def test_the_limit_holds_over_all_processes_at_once(limited: LimitedApi) -> None:
    shop = Shop(limited, item_limit="20/minute")

    def send(number: int) -> int:
        port = (limited.direct, limited.proxied)[number % 2]
        caller = Caller(port, shop.caller.api_key)
        return shop.batch(shop.items(3), caller).status_code

    with ThreadPoolExecutor(8) as threads:
        seen = sorted(threads.map(send, range(24)))
    assert seen == [202] * 6 + [429] * 18
    assert shop.stored() == 18


def test_each_client_has_its_own_rest(limited: LimitedApi) -> None:
    one, other = (Shop(limited, item_limit="5/minute") for _ in range(2))
    assert one.batch(one.items(5)).status_code == 202
    assert other.batch(other.items(5)).status_code == 202


def test_while_the_cache_is_dead_processes_count_by_themselves(limited: LimitedApi) -> None:
    shop, fresh = (Shop(limited, item_limit="10/minute") for _ in range(2))
    shop.batch(shop.items(6))
    limited.cache.kill()
    try:
        assert fresh.batch(fresh.items(10)).status_code == 202
        seen = [fresh.batch(fresh.items(10)).status_code for _ in range(2)]
        assert seen == [429, 429]
        # This process counted the first six too, or has not seen them; it has a bound either way.
        seen = [shop.batch(shop.items(6)).status_code for _ in range(3)]
        assert seen.count(202) <= 1
    finally:
        limited.cache.start()
    eventually(limited.all_count_in_cache)


def test_a_rejection_at_the_door_keeps_no_metadata(client: Caller, wallet_pair: WalletPair) -> None:
    body = wallet_pair.transfer("1000.00", reference="order 7", metadata={"note": "x" * 1000})
    key = str(uuid.uuid4())
    problem = assert_problem(client.submit(body, key=key), 400, "insufficient_funds")
    found = client.get(f"/v1/transfers/{problem['transfer_id']}").json()
    assert (found["state"], found["reference"], found["metadata"]) == ("rejected", "order 7", {})
    assert_problem(client.submit(body, key=key), 400, "insufficient_funds")
    changed = client.submit(body | {"metadata": {}}, key=key)
    assert_problem(changed, 422, "idempotency_key_reused")
