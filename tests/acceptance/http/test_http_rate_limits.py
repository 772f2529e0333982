"""Rate limits over HTTP: which requests count, against which limit, and what is answered."""

from __future__ import annotations

import time
import uuid

import pytest
import requests

from testing.bank import Bank
from testing.http_client import Caller
from tests.acceptance.http.contract import assert_problem
from tests.acceptance.http.limited_api import (
    LIMIT,
    LimitedApi,
    caller_from,
    fresh_address,
    statuses,
    statuses_at_once,
    write,
)

pytestmark = pytest.mark.acceptance

COUNTED = "X-RateLimit-Limit"


def standing(answer: requests.Response) -> tuple[int, int]:
    """Return the limit, and how much of it is left."""
    return int(answer.headers[COUNTED]), int(answer.headers["X-RateLimit-Remaining"])


def test_every_counted_answer_states_the_limit_and_what_is_left(limited: LimitedApi) -> None:
    caller = limited.new_caller()
    begun_s = time.time()
    for left in reversed(range(LIMIT)):
        answer = write(caller)
        assert answer.status_code == 201
        assert standing(answer) == (LIMIT, left)
        assert "Retry-After" not in answer.headers
        assert 0 < int(answer.headers["X-RateLimit-Reset"]) - begun_s <= 62


def test_one_request_too_many_is_refused_with_retry_after(limited: LimitedApi) -> None:
    caller = limited.new_caller()
    statuses(caller, LIMIT)
    answer = write(caller)
    problem = assert_problem(answer, 429, "rate_limited")
    assert "10 per 1 minute" in problem["detail"]
    assert standing(answer) == (LIMIT, 0)
    wait_s = int(answer.headers["Retry-After"])
    assert 1 <= wait_s <= 61
    assert abs(time.time() + wait_s - int(answer.headers["X-RateLimit-Reset"])) <= 2
    assert caller.get("/v1/wallets").json()["data"]  # and reads on


def test_a_window_ends_and_another_begins(limited: LimitedApi) -> None:
    caller = limited.new_caller(rate_limit="1/2 seconds")
    assert statuses(caller, 2) == [201, 429]
    time.sleep(int(write(caller).headers["Retry-After"]))
    assert write(caller).status_code == 201


def test_a_batch_counts_as_one_request_and_so_does_a_wrong_one(
    limited: LimitedApi, api_bank: Bank
) -> None:
    caller = limited.new_caller(scope="admin")
    transfer = transfer_from_outside(caller)
    items = [{**transfer, "idempotency_key": str(uuid.uuid4())} for _ in range(50)]
    answer = caller.post("/v1/transfers/batch", {"transfers": items})
    assert answer.status_code == 202
    assert standing(answer) == (LIMIT, LIMIT - 3)
    wrong = caller.submit({"source": transfer["source"]})
    assert_problem(wrong, 400, "invalid_request")
    assert standing(wrong) == (LIMIT, LIMIT - 4)
    api_bank.settle()


def test_a_transfer_under_way_still_has_its_own_retry_after(
    limited: LimitedApi, api_bank: Bank
) -> None:
    caller = limited.new_caller(scope="admin")
    answer = caller.submit(transfer_from_outside(caller))
    assert answer.status_code == 202
    assert answer.headers["Retry-After"] == "1"
    assert standing(answer) == (LIMIT, LIMIT - 3)
    api_bank.settle()


def test_the_limit_holds_across_all_processes(limited: LimitedApi) -> None:
    address, api_key = fresh_address(), limited.new_key()
    seen = statuses_at_once(address, limited.direct, api_key, 30)
    assert sorted(seen) == [201] * LIMIT + [429] * 20
    elsewhere = caller_from(address, port=limited.proxied, api_key=api_key)
    assert write(elsewhere).status_code == 429  # a server of other processes


def test_clients_without_a_limit_of_their_own_are_counted_by_address(limited: LimitedApi) -> None:
    address = fresh_address()
    first, second = (limited.new_caller(address=address) for _ in range(2))
    assert statuses(first, LIMIT) == [201] * LIMIT
    assert write(second).status_code == 429
    moved = caller_from(fresh_address(), port=limited.direct, api_key=first.api_key)
    assert write(moved).status_code == 201


def test_a_client_with_a_limit_of_its_own_is_counted_by_client(limited: LimitedApi) -> None:
    crowded = fresh_address()
    statuses(limited.new_caller(address=crowded), LIMIT + 1)
    own = limited.new_caller(rate_limit="12/minute", address=crowded)
    assert statuses(own, LIMIT) == [201] * LIMIT
    assert standing(write(own)) == (12, 1)
    moved = caller_from(fresh_address(), port=limited.direct, api_key=own.api_key)
    assert statuses(moved, 2) == [201, 429]


def test_a_client_with_the_limit_none_is_never_counted(limited: LimitedApi) -> None:
    caller = limited.new_caller(rate_limit="none")
    answers = [write(caller) for _ in range(LIMIT + 5)]
    assert {answer.status_code for answer in answers} == {201}
    assert not any(COUNTED in answer.headers for answer in answers)


@pytest.mark.parametrize("stored", ["as you like", "5/parsec", "0/minute", f"1/{10**15} days"])
def test_a_stored_limit_that_makes_no_sense_counts_as_the_default(
    limited: LimitedApi, stored: str
) -> None:
    caller = limited.new_caller(rate_limit=stored)
    assert statuses(caller, LIMIT + 1) == [201] * LIMIT + [429]


def test_reads_and_other_requests_that_are_no_writes_are_not_counted(limited: LimitedApi) -> None:
    caller = limited.new_caller()
    for method, path in (
        ("GET", "/v1/wallets"),
        ("GET", "/v1/transfers"),
        ("GET", "/health/live"),
        ("POST", "/health/live"),
        ("POST", "/v1/nothing/here"),
        ("DELETE", "/v1/wallets"),
    ):
        answers = [caller(method, path) for _ in range(3)]
        assert not any(COUNTED in answer.headers for answer in answers)
    assert standing(write(caller)) == (LIMIT, LIMIT - 1)


def test_failed_authentication_is_counted_by_address(limited: LimitedApi) -> None:
    address = fresh_address()
    for left in reversed(range(LIMIT)):
        answer = caller_from(address, port=limited.direct, api_key=f"made up {left}").get(
            "/v1/wallets"
        )
        assert_problem(answer, 401, "unauthenticated")
        assert standing(answer) == (LIMIT, left)
    for api_key in ("another", None):
        answer = caller_from(address, port=limited.direct, api_key=api_key).get("/v1/wallets")
        assert_problem(answer, 429, "rate_limited")
        assert int(answer.headers["Retry-After"]) >= 1
        assert standing(answer) == (LIMIT, 0)
    elsewhere = caller_from(fresh_address(), port=limited.direct, api_key="another")
    assert elsewhere.get("/v1/wallets").status_code == 401


def test_who_shares_an_address_with_an_attacker_is_served_all_the_same(
    limited: LimitedApi,
) -> None:
    address = fresh_address()
    known = limited.new_caller(address=address)
    assert known.get("/v1/wallets").status_code == 200
    use_up_failures(limited, address)
    assert known.get("/v1/wallets").status_code == 200
    assert write(known).status_code == 201  # failures use up nothing else
    # Processes that have not seen the key yet do not lock it out either.
    elsewhere = caller_from(address, port=limited.proxied, api_key=known.api_key)
    assert elsewhere.get("/v1/wallets").status_code == 200


def test_no_key_is_looked_up_for_an_address_that_tried_too_many(limited: LimitedApi) -> None:
    address, api_key = fresh_address(), limited.new_key()
    use_up_failures(limited, address)
    newcomer = caller_from(address, port=limited.direct, api_key=api_key)
    assert_problem(newcomer.get("/v1/wallets"), 429, "rate_limited")  # although it is good
    elsewhere = caller_from(fresh_address(), port=limited.direct, api_key=api_key)
    assert elsewhere.get("/v1/wallets").status_code == 200
    assert newcomer.get("/v1/wallets").status_code == 200  # from now on it is known


def test_without_proxies_nobody_chooses_an_address_by_a_header(limited: LimitedApi) -> None:
    caller = limited.new_caller()
    forged = [write(caller, **forwarded(f"198.51.100.{number}")) for number in range(LIMIT + 1)]
    assert [answer.status_code for answer in forged] == [201] * LIMIT + [429]


def test_behind_a_proxy_only_what_the_proxy_added_is_believed(limited: LimitedApi) -> None:
    proxied = caller_from(fresh_address(), port=limited.proxied, api_key=limited.new_key())
    client, other = "203.0.113.7", "203.0.113.8"
    assert statuses(proxied, LIMIT, **forwarded(client)) == [201] * LIMIT
    assert write(proxied, **forwarded(client)).status_code == 429
    assert write(proxied, **forwarded(f"{other}, {client}")).status_code == 429  # forged
    assert write(proxied, **forwarded(f"{client}, {other}")).status_code == 201


def test_a_proxy_may_add_a_header_of_its_own_beside_a_forged_one(limited: LimitedApi) -> None:
    proxied, client = Caller(limited.proxied, limited.new_key()), "203.0.113.9"
    assert statuses(proxied, LIMIT, **forwarded(client)) == [201] * LIMIT
    answer = proxied.raw(
        b"POST /v1/wallets HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n"
        b"Authorization: Bearer %b\r\nX-Forwarded-For: 192.0.2.1\r\n"
        b"X-Forwarded-For: %b\r\n\r\n" % (str(proxied.api_key).encode(), client.encode())
    )
    assert answer.startswith(b"HTTP/1.1 429 ")


def test_a_network_of_ipv6_addresses_counts_as_one(limited: LimitedApi) -> None:
    proxied = caller_from(fresh_address(), port=limited.proxied, api_key=limited.new_key())
    seen = [
        write(proxied, **forwarded(f"2001:db8:7:7:{number:x}::1")).status_code
        for number in range(LIMIT + 1)
    ]
    assert seen == [201] * LIMIT + [429]
    assert write(proxied, **forwarded("2001:db8:7:8::1")).status_code == 201


def transfer_from_outside(admin: Caller) -> dict[str, str]:
    """Return the body of a transfer with enough funds, between two new wallets."""
    outside = admin.post("/v1/wallets", {"asset": "USD", "kind": "external"}).json()["id"]
    return {
        "source": outside,
        "destination": write(admin).json()["id"],
        "amount": "1.00",
        "asset": "USD",
    }


def use_up_failures(limited: LimitedApi, address: str) -> None:
    for _ in range(LIMIT):
        attacker: Caller = caller_from(address, port=limited.direct, api_key=str(uuid.uuid4()))
        assert attacker.get("/v1/wallets").status_code == 401


def forwarded(addresses: str) -> dict[str, str]:
    return {"X-Forwarded-For": addresses}
