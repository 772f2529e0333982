"""Transfers over HTTP: status codes, headers and fields exactly as the contract says."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from sqlalchemy import Engine, text

from ledger.postgres.database import transaction
from testing.bank import Bank
from testing.http_client import Caller
from testing.worker_processes import eventually
from tests.acceptance.conftest import Unchanged, WalletPair
from tests.acceptance.http.contract import (
    JSON,
    TIME,
    TRANSFER_FIELDS,
    assert_problem,
)

T = TypeVar("T")

pytestmark = pytest.mark.acceptance


@contextmanager
def settling(bank: Bank) -> Iterator[None]:
    """Settle repeatedly, as workers do, until the block ends."""
    enough = threading.Event()

    def work() -> None:
        while not enough.wait(0.02):
            bank.settle()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def test_a_transfer_is_accepted_with_202_and_its_location(
    client: Caller, wallet_pair: WalletPair
) -> None:
    answer = client.submit(
        wallet_pair.transfer(reference="order 1", metadata={"lines": [1, 2.5, None, "€"]})
    )
    transfer = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Content-Type"] == JSON
    assert answer.headers["Location"] == f"/v1/transfers/{transfer['id']}"
    assert answer.headers["Retry-After"] == "1"
    assert "Idempotent-Replayed" not in answer.headers
    assert "Preference-Applied" not in answer.headers
    assert list(transfer) == TRANSFER_FIELDS
    assert transfer["state"] == "accepted"
    assert transfer["amount"] == "12.50"
    assert transfer["refunded"] == "0.00"
    assert transfer["reference"] == "order 1"
    assert transfer["metadata"] == {"lines": [1, 2.5, None, "€"]}
    assert transfer["capture"] == "auto"
    assert re.fullmatch(TIME, transfer["created_at"])


EXACT = (
    '{"a":1.10,"b":[0.1,100.0,-0.50,0.000000000000001],"c":12345678901234.123456789012345,'
    '"d":{"e":3.14159265358979323846264338327950288},"f":12345678901234567890123,"g":"\u20ac"}'
)


def test_numbers_in_metadata_come_back_as_they_were_sent(
    client: Caller, wallet_pair: WalletPair
) -> None:
    transfer = json.dumps(wallet_pair.transfer())[:-1]
    wallet = client.post("/v1/wallets", {"asset": "USD"}).json()["id"]
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    for sent in (EXACT, EXACT.replace("1.10", "1.1")):  # the same number is the same request
        data = f'{transfer},"metadata":{sent}}}'.encode()
        answer = client("POST", "/v1/transfers", data=data, headers=headers)
        assert answer.status_code == 202
        assert ("Idempotent-Replayed" in answer.headers) is (sent != EXACT)
    changed = f'{{"metadata":{EXACT}}}'.encode()
    for shown in (
        client.get(f"/v1/transfers/{answer.json()['id']}"),
        client.get("/v1/transfers?limit=1"),
        client("PATCH", f"/v1/wallets/{wallet}", data=changed, headers=headers),
        client.get(f"/v1/wallets/{wallet}"),
    ):
        document = json.loads(shown.text, parse_float=str)  # with the digits as they are
        [one] = document.get("data", [document])
        assert one["metadata"] == json.loads(EXACT, parse_float=str)


def test_optional_fields_may_be_null(client: Caller, wallet_pair: WalletPair) -> None:
    body = wallet_pair.transfer(reference=None, metadata=None, expires_in_s=None, capture="auto")
    answer = client.submit(body)
    assert answer.status_code == 202
    assert answer.json()["metadata"] == {}


def test_an_amount_is_printed_with_all_digits_of_its_asset(
    client: Caller, wallet_pair: WalletPair
) -> None:
    assert client.submit(wallet_pair.transfer("3")).json()["amount"] == "3.00"


def test_waiting_answers_201_once_it_has_committed(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    with settling(api_bank):
        answer = client.submit(wallet_pair.transfer(), prefer="wait=10")
    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "wait"
    assert answer.headers["Location"] == f"/v1/transfers/{answer.json()['id']}"
    assert "Retry-After" not in answer.headers
    assert answer.json()["state"] == "committed"


def test_waiting_too_long_answers_202_after_the_requested_time(
    client: Caller, wallet_pair: WalletPair
) -> None:
    answer = client.submit(wallet_pair.transfer(), prefer="respond-async, wait=1")
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait"
    assert 1.0 <= answer.elapsed.total_seconds() < 3.0


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=soon", "wait=-1", "wait=0", '"'])
def test_a_malformed_preference_is_ignored(
    client: Caller, wallet_pair: WalletPair, prefer: str
) -> None:
    answer = client.submit(wallet_pair.transfer(), prefer=prefer)
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


def test_a_repeat_while_under_way_answers_202_for_the_same_transfer(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged
) -> None:
    key = str(uuid.uuid4())
    first = client.submit(wallet_pair.transfer(), key=key)
    with unchanged():
        repeat = client.submit(wallet_pair.transfer(), key=key)
    assert repeat.status_code == 202
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert repeat.headers["Location"] == first.headers["Location"]
    assert repeat.headers["Retry-After"] == "1"
    assert repeat.json() == first.json()


def test_a_repeat_after_the_commit_answers_200(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank, unchanged: Unchanged
) -> None:
    key = str(uuid.uuid4())
    first = client.submit(wallet_pair.transfer(), key=key)
    api_bank.settle()
    with unchanged():
        repeat = client.submit(wallet_pair.transfer(), key=key, prefer="wait=5")
    assert repeat.status_code == 200
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert repeat.json()["state"] == "committed"
    assert repeat.json()["id"] == first.json()["id"]


def test_the_same_key_of_another_client_is_another_transfer(
    client: Caller, admin: Caller, wallet_pair: WalletPair
) -> None:
    key = str(uuid.uuid4())
    ours = client.submit(wallet_pair.transfer(), key=key)
    theirs = admin.submit(wallet_pair.transfer(), key=key)
    assert theirs.status_code == 202
    assert theirs.json()["id"] != ours.json()["id"]


def test_too_little_money_answers_400_now_and_on_every_repeat(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank, unchanged: Unchanged
) -> None:
    key = str(uuid.uuid4())
    first = client.submit(wallet_pair.transfer("100.01"), key=key)
    problem = assert_problem(first, 400, "insufficient_funds")
    assert "Idempotent-Replayed" not in first.headers
    assert "100" not in problem["detail"]
    api_bank.fund(500_00, wallet_pair.source)
    with unchanged():
        repeat = client.submit(wallet_pair.transfer("100.01"), key=key)
    assert (
        assert_problem(repeat, 400, "insufficient_funds")["transfer_id"] == problem["transfer_id"]
    )
    assert repeat.headers["Idempotent-Replayed"] == "true"


def test_a_rejection_while_waiting_answers_its_problem(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    client.submit(wallet_pair.transfer("60.00"))  # each fits the balance, but not both
    with settling(api_bank):
        answer = client.submit(wallet_pair.transfer("60.00"), prefer="wait=10")
    assert "transfer_id" in assert_problem(answer, 400, "insufficient_funds")
    assert answer.headers["Preference-Applied"] == "wait"


@pytest.mark.parametrize("role", ["source", "destination"])
def test_a_frozen_wallet_answers_422(
    client: Caller, admin: Caller, wallet_pair: WalletPair, role: str
) -> None:
    wallet = wallet_pair.source if role == "source" else wallet_pair.destination
    admin.post(f"/v1/wallets/{wallet.id}/freeze")
    problem = assert_problem(client.submit(wallet_pair.transfer()), 422, "wallet_frozen")
    assert client.get(f"/v1/transfers/{problem['transfer_id']}").json()["state"] == "rejected"


def test_a_closed_wallet_answers_422(
    client: Caller, admin: Caller, wallet_pair: WalletPair
) -> None:
    admin.post(f"/v1/wallets/{wallet_pair.destination.id}/close")
    assert_problem(client.submit(wallet_pair.transfer()), 422, "wallet_closed")


def test_a_rollback_answers_422_on_a_repeat(
    client: Caller, admin: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    api_bank.settle()
    key = str(uuid.uuid4())
    transfer = client.submit(wallet_pair.transfer(), key=key).json()
    batch = api_bank.reach("deducted")
    admin.post(f"/v1/wallets/{wallet_pair.destination.id}/freeze")
    api_bank.step("credit", batch)
    api_bank.roll_back(batch)
    repeat = client.submit(wallet_pair.transfer(), key=key)
    assert assert_problem(repeat, 422, "rolled_back")["transfer_id"] == transfer["id"]
    assert api_bank.look(wallet_pair.source).available == 100_00


def test_two_hundred_threads_with_one_key_make_one_transfer(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    key = str(uuid.uuid4())
    answers = in_threads(
        200,
        lambda: (
            Caller(client.port, client.api_key).submit(wallet_pair.transfer(), key=key).json()["id"]
        ),
    )
    assert len(answers) == 200
    assert len(set(answers)) == 1
    api_bank.settle()
    assert api_bank.look(wallet_pair.destination).balance == 12_50


def test_more_waiters_than_slots_are_answered_at_once(
    client: Caller, wallet_pair: WalletPair
) -> None:
    # Two processes of 24 threads, of which 16 may wait: not all 60 waiters get a slot.
    answers = in_threads(
        60,
        lambda: Caller(client.port, client.api_key).submit(
            wallet_pair.transfer("0.01"), prefer="wait=2"
        ),
    )
    applied = [answer for answer in answers if "Preference-Applied" in answer.headers]
    assert {answer.status_code for answer in answers} == {202}
    assert 0 < len(applied) <= 32


def test_a_transfer_is_shown_with_its_timeline(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    location = client.submit(wallet_pair.transfer()).headers["Location"]
    api_bank.settle()
    transfer = client.get(location).json()
    assert list(transfer) == [*TRANSFER_FIELDS, "timeline"]
    events = [entry["event"] for entry in transfer["timeline"]]
    assert events == ["accepted", "reserved", "deducted", "credited", "committed"]
    assert all(re.fullmatch(TIME, entry["at"]) for entry in transfer["timeline"])
    assert None not in [value for entry in transfer["timeline"] for value in entry.values()]


def test_reading_a_transfer_can_wait_too(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    location = client.submit(wallet_pair.transfer()).headers["Location"]
    with settling(api_bank):
        answer = client.get(location, Prefer="wait=10")
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait"
    assert answer.json()["state"] == "committed"
    assert answer.json()["timeline"][-1]["event"] == "committed"


def test_a_failed_transfer_is_shown_with_200_and_its_failure(
    client: Caller, wallet_pair: WalletPair
) -> None:
    problem = client.submit(wallet_pair.transfer("100.01")).json()
    answer = client.get(f"/v1/transfers/{problem['transfer_id']}")
    assert answer.status_code == 200
    assert answer.json()["failure"]["code"] == "insufficient_funds"
    assert "100" not in answer.json()["failure"]["detail"]


def test_a_stranger_sees_nothing_of_a_transfer(
    client: Caller, stranger: Caller, admin: Caller, wallet_pair: WalletPair
) -> None:
    transfer = client.submit(wallet_pair.transfer()).json()
    path = f"/v1/transfers/{transfer['id']}"
    assert_problem(stranger.get(path), 404, "not_found")
    assert_problem(stranger.get(path, Prefer="wait=10"), 404, "not_found")
    assert stranger.get("/v1/transfers").json() == {"data": [], "next_cursor": None}
    assert admin.get(path).status_code == 200


def test_the_pages_of_a_list_have_no_gaps(client: Caller, wallet_pair: WalletPair) -> None:
    made = [client.submit(wallet_pair.transfer("0.01")).json()["id"] for _ in range(5)]
    path = f"/v1/transfers?wallet={wallet_pair.source.id}"
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = client.get(path + "&limit=2" + (f"&cursor={cursor}" if cursor else "")).json()
        found += [transfer["id"] for transfer in page["data"]]
        cursor = page["next_cursor"]
        pages += 1
    assert found[:5] == made[::-1]
    assert len(found) == 6  # and the one that funded the wallet
    assert pages == 3


def test_a_list_is_filtered_by_wallet_state_and_time(
    client: Caller, wallet_pair: WalletPair
) -> None:
    refused = client.submit(wallet_pair.transfer("100.01")).json()["transfer_id"]
    middle = client.get(f"/v1/transfers/{refused}").json()["created_at"]
    accepted = client.submit(wallet_pair.transfer()).json()["id"]

    def ids(query: str) -> list[str]:
        page = client.get(f"/v1/transfers?wallet={wallet_pair.source.id}&{query}").json()
        return [transfer["id"] for transfer in page["data"]]

    assert ids("state=rejected") == [refused]
    assert ids("state=accepted") == [accepted]
    assert ids(f"created_after={middle}") == [accepted]
    assert accepted not in ids(f"created_before={middle}")
    assert client.get(f"/v1/transfers?wallet={uuid.uuid4()}").json()["data"] == []


def test_an_asset_that_was_inserted_by_hand_is_a_clear_refusal(
    admin: Caller, client: Caller, wallet_pair: WalletPair, api_engine: Engine
) -> None:
    """It has no transit wallet, which comes with an asset that is made properly."""
    with transaction(api_engine) as connection:
        connection.execute(text("INSERT INTO assets VALUES ('LOST', 2)"))
    try:
        pair = [
            admin.post("/v1/wallets", {"asset": "LOST", "kind": kind}).json()["id"]
            for kind in ("external", "customer")
        ]
        lost = {"source": pair[0], "destination": pair[1], "amount": "1.00", "asset": "LOST"}
        # A process loads unknown assets at most once a second.
        eventually(lambda: admin.submit(lost).json()["code"] != "invalid_request")
        problem = assert_problem(admin.submit(lost), 422, "wallet_not_found")
        assert "The asset LOST has no transit wallet" in problem["detail"]
        assert client.submit(wallet_pair.transfer()).status_code == 202
    finally:
        with transaction(api_engine) as connection:  # so that other tests find whole assets
            connection.execute(
                text("INSERT INTO wallets (id, asset, kind) VALUES (:id, 'LOST', 'transit')"),
                {"id": uuid.uuid4()},
            )
    assert admin.submit(lost).status_code == 202


def in_threads(count: int, call: Callable[[], T]) -> list[T]:
    """Call it in `count` threads at once. Returns: what each returned."""
    results: list[T] = []
    threads = [threading.Thread(target=lambda: results.append(call())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_key_is_shown_to_the_client_that_sent_it_and_finds_the_transfer(
    client: Caller, stranger: Caller, admin: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    receiver = stranger.post("/v1/wallets", {"asset": "USD"}).json()["id"]
    key = str(uuid.uuid4())
    body = wallet_pair.transfer("1.00") | {"destination": receiver}
    sent = client.post("/v1/transfers", body, **{"Idempotency-Key": key}).json()
    api_bank.settle()
    path = f"/v1/transfers/{sent['id']}"
    assert sent["idempotency_key"] == client.get(path).json()["idempotency_key"] == key
    assert stranger.get(path).json()["idempotency_key"] is None
    assert admin.get(path).json()["idempotency_key"] is None
    for order in ("", "&order=recorded"):
        query = f"/v1/transfers?idempotency_key={key}{order}"
        [found] = client.get(query).json()["data"]
        assert (found["id"], found["idempotency_key"]) == (sent["id"], key)
        assert stranger.get(query).json()["data"] == admin.get(query).json()["data"] == []
    assert client.get(f"/v1/transfers?idempotency_key={key}&state=rejected").json()["data"] == []
