"""Batches over HTTP: a result for each transfer, in order."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from testing.bank import Bank
from testing.http_client import Caller
from tests.acceptance.conftest import Unchanged, WalletPair
from tests.acceptance.http.contract import assert_invalid

pytestmark = pytest.mark.acceptance

BATCH = "/v1/transfers/batch"


def item(wallet_pair: WalletPair, amount: Any = "0.01", **changes: Any) -> dict[str, Any]:
    return wallet_pair.transfer(amount, idempotency_key=str(uuid.uuid4())) | changes


def test_each_transfer_has_its_own_result_in_order(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    transfers = [
        item(wallet_pair, "1.00"),
        item(wallet_pair, "0"),
        item(wallet_pair, "1000.00"),
        item(wallet_pair, "2.00"),
        item(wallet_pair, destination=str(wallet_pair.source.id)),
        item(wallet_pair, idempotency_key=None),
        item(wallet_pair, idempotency_key="a\nb"),
        item(wallet_pair, asset="XXX"),
        "not an object",
        item(wallet_pair, colour="blue"),
    ]
    answer = client.post(BATCH, {"transfers": transfers, "atomic": False})
    assert answer.status_code == 202
    assert [result_of(result) for result in answer.json()["results"]] == [
        "accepted",
        ("invalid_request", "/transfers/1/amount"),
        ("insufficient_funds", None),
        "accepted",
        ("same_wallet", None),
        ("idempotency_key_missing", None),
        ("invalid_request", "/transfers/6/idempotency_key"),
        ("invalid_request", "/transfers/7/asset"),
        ("invalid_request", "/transfers/8"),
        ("invalid_request", "/transfers/9/colour"),
    ]
    assert "transfer_id" in answer.json()["results"][2]["error"]
    api_bank.settle()
    assert api_bank.look(wallet_pair.destination).balance == 3_00


def test_a_batch_sent_again_changes_nothing(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank, unchanged: Unchanged
) -> None:
    transfers = [item(wallet_pair), item(wallet_pair, "1000.00"), item(wallet_pair)]
    first = client.post(BATCH, {"transfers": transfers}).json()["results"]
    api_bank.settle()
    with unchanged():
        again = client.post(BATCH, {"transfers": transfers}).json()["results"]
    assert [result_of(result) for result in again] == [
        "committed",
        ("insufficient_funds", None),
        "committed",
    ]
    assert again[0]["id"] == first[0]["id"]


def test_the_same_transfer_twice_in_a_batch_is_one_transfer(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    twice = item(wallet_pair, "1.00")
    other = twice | {"amount": "2.00"}
    results = client.post(BATCH, {"transfers": [twice, twice, other]}).json()["results"]
    assert results[0] == results[1]
    assert result_of(results[2]) == ("idempotency_key_reused", None)
    api_bank.settle()
    assert api_bank.look(wallet_pair.destination).balance == 1_00


@pytest.mark.parametrize("key", [" order-7", "order-7 ", " "])
def test_a_key_with_a_space_at_an_end_is_refused(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged, key: str
) -> None:
    transfers = [item(wallet_pair, idempotency_key=key)]
    with unchanged():
        [result] = client.post(BATCH, {"transfers": transfers}).json()["results"]
    assert result_of(result) == ("invalid_request", "/transfers/0/idempotency_key")
    assert "space" in result["error"]["detail"]


def test_a_key_is_the_same_in_a_header_and_in_a_batch_and_quotes_count(
    client: Caller, wallet_pair: WalletPair
) -> None:
    key = f"order 7, {uuid.uuid4()}"
    single = client.submit(wallet_pair.transfer(), key=key).json()["id"]
    quoted = client.submit(wallet_pair.transfer(), key=f'"{key}"').json()["id"]
    transfers = [wallet_pair.transfer(idempotency_key=each) for each in (key, f'"{key}"')]
    results = client.post(BATCH, {"transfers": transfers}).json()["results"]
    assert [result["id"] for result in results] == [single, quoted]
    assert single != quoted


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"transfers": []}, "/transfers"),
        ({"transfers": {}}, "/transfers"),
        ({"transfers": [{}] * 5001}, "/transfers"),
        ({"atomic": True}, "/atomic"),
        ({"atomic": "no"}, "/atomic"),
        ({"colour": "blue"}, "/colour"),
    ],
)
def test_an_unusable_envelope_is_refused_as_a_whole(
    client: Caller,
    wallet_pair: WalletPair,
    unchanged: Unchanged,
    change: dict[str, Any],
    pointer: str,
) -> None:
    with unchanged():
        answer = client.post(BATCH, {"transfers": [item(wallet_pair)]} | change)
    assert_invalid(answer, pointer=pointer)


def test_a_batch_shows_a_bounded_number_of_errors(client: Caller, unchanged: Unchanged) -> None:
    wrong = {str(number): 0 for number in range(30)}
    with unchanged():
        results = client.post(
            BATCH, {"transfers": [wrong | {"idempotency_key": "k"}] * 2000}
        ).json()
    shown = [len(result["error"].get("errors", [])) for result in results["results"]]
    assert shown == [20] * 50 + [1] * 1950


def test_five_thousand_transfers_are_answered_in_seconds(
    client: Caller, wallet_pair: WalletPair, api_bank: Bank
) -> None:
    transfers = [item(wallet_pair, reference=f"line {number}") for number in range(5000)]
    begun = time.monotonic()
    results = client.post(BATCH, {"transfers": transfers}).json()["results"]
    assert time.monotonic() - begun < 10
    assert {result["state"] for result in results} == {"accepted"}
    assert len({result["id"] for result in results}) == 5000
    api_bank.settle()
    assert api_bank.look(wallet_pair.destination).balance == 50_00


def result_of(result: dict[str, Any]) -> Any:
    """A result in short: its state, or its code and where the body is wrong."""
    if "error" not in result:
        return result["state"]
    errors = result["error"].get("errors", [{"pointer": None}])
    return result["error"]["code"], errors[0]["pointer"]
