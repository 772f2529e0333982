"""Bad input over HTTP: each kind gets its error code and changes nothing."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from testing.http_client import Caller
from tests.acceptance.conftest import Unchanged, WalletPair
from tests.acceptance.http.contract import assert_invalid, assert_problem

pytestmark = pytest.mark.acceptance

MIB = 1024 * 1024

BAD_AMOUNTS = [
    pytest.param(12.5, id="a float"),
    pytest.param(12, id="an integer"),
    pytest.param(None, id="null"),
    pytest.param("1e3", id="an exponent"),
    pytest.param("NaN", id="not a number"),
    pytest.param("Infinity", id="infinity"),
    pytest.param("+1.00", id="a plus sign"),
    pytest.param("-1.00", id="a minus sign"),
    pytest.param("1.001", id="too many decimals"),
    pytest.param("0", id="zero"),
    pytest.param("0.00", id="zero with decimals"),
    pytest.param("01.00", id="a leading zero"),
    pytest.param("1.", id="a bare point"),
    pytest.param("1,00", id="a comma"),
    pytest.param(" 1.00", id="a space"),
    pytest.param("", id="nothing"),
    pytest.param("\u0661", id="an arabic digit"),
    pytest.param("9" * 40, id="more than the ledger holds"),
    pytest.param("9" * 5000, id="thousands of digits"),
    pytest.param(["1.00"], id="an array"),
]


@pytest.mark.parametrize("amount", BAD_AMOUNTS)
def test_an_unusable_amount_is_refused(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged, amount: Any
) -> None:
    with unchanged():
        answer = client.submit(wallet_pair.transfer(amount))
    assert_invalid(answer, pointer="/amount")


BAD_FIELDS = [
    pytest.param({"asset": "XXX"}, "/asset", id="an unknown asset"),
    pytest.param({"asset": "usd"}, "/asset", id="an asset in small letters"),
    pytest.param({"asset": 7}, "/asset", id="an asset that is a number"),
    pytest.param({"source": "me"}, "/source", id="a wallet that is no id"),
    pytest.param({"source": 7}, "/source", id="a wallet that is a number"),
    pytest.param({"source": None}, "/source", id="no wallet"),
    pytest.param({"destination": f"{{{uuid.uuid4()}}}"}, "/destination", id="an id in braces"),
    pytest.param({"destination": uuid.uuid4().hex}, "/destination", id="an id without hyphens"),
    pytest.param({"reference": "x" * 256}, "/reference", id="a reference of 256 characters"),
    pytest.param({"reference": 7}, "/reference", id="a reference that is a number"),
    pytest.param({"metadata": []}, "/metadata", id="metadata that is an array"),
    pytest.param({"metadata": "x"}, "/metadata", id="metadata that is a string"),
    pytest.param({"metadata": {"x": "y" * 8192}}, "/metadata", id="metadata over 8 KiB"),
    pytest.param({"capture": "manual"}, "/capture", id="manual capture, not available yet"),
    pytest.param({"capture": "never"}, "/capture", id="an unknown capture"),
    pytest.param({"expires_in_s": 60}, "/expires_in_s", id="an expiry, not available yet"),
    pytest.param({"colour": "blue"}, "/colour", id="an unknown field"),
    pytest.param({"a/b~c": 1}, "/a~1b~0c", id="an unknown field with a slash and a tilde"),
]


@pytest.mark.parametrize(("change", "pointer"), BAD_FIELDS)
def test_an_unusable_field_is_refused(
    client: Caller,
    wallet_pair: WalletPair,
    unchanged: Unchanged,
    change: dict[str, Any],
    pointer: str,
) -> None:
    with unchanged():
        answer = client.submit(wallet_pair.transfer(**change))
    assert_invalid(answer, pointer=pointer)


@pytest.mark.parametrize("field", ["source", "destination", "amount", "asset"])
def test_a_missing_field_is_refused(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged, field: str
) -> None:
    body = wallet_pair.transfer()
    del body[field]
    with unchanged():
        answer = client.submit(body)
    assert_invalid(answer, pointer=f"/{field}")


def test_metadata_may_be_ten_levels_deep_and_no_deeper(
    client: Caller, wallet_pair: WalletPair
) -> None:
    assert client.submit(wallet_pair.transfer(metadata=nested(10))).status_code == 202
    assert_invalid(client.submit(wallet_pair.transfer(metadata=nested(11))), pointer="/metadata")


def test_several_wrong_fields_are_all_named(client: Caller, wallet_pair: WalletPair) -> None:
    answer = client.submit(wallet_pair.transfer(7, source="me", colour="blue"))
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert pointers == ["/source", "/amount", "/colour"]


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


BAD_BODIES = [
    pytest.param(b"", id="an empty body"),
    pytest.param(b"amount=1", id="a body that is not JSON"),
    pytest.param(b'{"amount": "1.00",}', id="a trailing comma"),
    pytest.param(b'{"amount": "1.00"} {}', id="two documents"),
    pytest.param(b"[]", id="an array"),
    pytest.param(b'"text"', id="a string"),
    pytest.param(b"null", id="null"),
    pytest.param(b'{"reference": "\xff\xfe"}', id="invalid UTF-8"),
    pytest.param(b'{"reference": "\xed\xa0\x80"}', id="a surrogate in UTF-8"),
    pytest.param('{"amount": "1.00"}'.encode("utf-16"), id="UTF-16"),
    pytest.param(b'\xef\xbb\xbf{"amount": "1.00"}', id="a byte order mark"),
    pytest.param(b"[" * 100_000, id="an array without end"),
    pytest.param(b"[" * 100_000 + b"]" * 100_000, id="a deep array"),
    pytest.param(b'{"a":' * 50_000 + b"1" + b"}" * 50_000, id="a deep object"),
]


@pytest.mark.parametrize("body", BAD_BODIES)
def test_an_unusable_body_is_refused(client: Caller, unchanged: Unchanged, body: bytes) -> None:
    with unchanged():
        answer = send(client, body)
    assert_invalid(answer)


SMUGGLED = [
    pytest.param('"metadata": {"x": NaN}', id="NaN in metadata"),
    pytest.param('"metadata": {"x": -Infinity}', id="minus infinity in metadata"),
    pytest.param('"metadata": {"x": 1e999}', id="a number beyond all floats"),
    pytest.param('"metadata": {"x": ' + "9" * 5000 + "}", id="a number of thousands of digits"),
    pytest.param('"metadata": {"x": "\\u0000"}', id="NUL in metadata"),
    pytest.param('"metadata": {"\\u0000": 1}', id="NUL in a key of metadata"),
    pytest.param('"metadata": {"x": ["\\ud800"]}', id="an unpaired surrogate in metadata"),
    pytest.param('"reference": "\\u0000"', id="NUL in the reference"),
    pytest.param('"reference": "\\udc00\\ud800"', id="surrogates in the wrong order"),
    pytest.param('"reference": "a\nb"', id="a bare line break in a string"),
    pytest.param('"amount": "100.00"', id="the amount a second time"),
    pytest.param('"metadata": {"x": 1, "x": 2}', id="a key twice in metadata"),
]


@pytest.mark.parametrize("member", SMUGGLED)
def test_json_that_cannot_be_stored_or_is_ambiguous_is_refused(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged, member: str
) -> None:
    body = json.dumps(wallet_pair.transfer())[:-1] + f", {member}}}"
    with unchanged():
        answer = send(client, body.encode())
    assert_invalid(answer)


def test_an_escaped_pair_of_surrogates_is_one_good_character(
    client: Caller, wallet_pair: WalletPair
) -> None:
    answer = client.submit(wallet_pair.transfer(reference="\U0001f4b6"))  # requests escapes it
    assert answer.json()["reference"] == "\U0001f4b6"


def test_a_wallet_that_does_not_exist_is_not_found(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged
) -> None:
    for field in ("source", "destination"):
        with unchanged():
            answer = client.submit(wallet_pair.transfer(**{field: str(uuid.uuid4())}))
        assert_problem(answer, 422, "wallet_not_found")


def test_a_foreign_source_is_not_found(
    stranger: Caller, wallet_pair: WalletPair, unchanged: Unchanged
) -> None:
    with unchanged():
        answer = stranger.submit(wallet_pair.transfer())
    assert_problem(answer, 422, "wallet_not_found")


def test_the_same_wallet_twice_is_refused(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged
) -> None:
    with unchanged():
        answer = client.submit(wallet_pair.transfer(destination=str(wallet_pair.source.id)))
    assert_problem(answer, 422, "same_wallet")


def test_another_asset_than_the_wallets_is_refused(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged
) -> None:
    with unchanged():
        answer = client.submit(wallet_pair.transfer(asset="EUR"))
    assert_problem(answer, 422, "asset_mismatch")


def test_a_key_with_a_different_body_is_refused(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged
) -> None:
    key = str(uuid.uuid4())
    client.submit(wallet_pair.transfer("1.00"), key=key)
    with unchanged():
        answer = client.submit(wallet_pair.transfer("2.00"), key=key)
    assert_problem(answer, 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("key", "code"),
    [
        pytest.param(None, "idempotency_key_missing", id="no key"),
        pytest.param(b"", "idempotency_key_missing", id="an empty key"),
        pytest.param(b"x" * 256, "invalid_request", id="256 characters"),
        pytest.param(b"a\tb", "invalid_request", id="a tab"),
        pytest.param("\u00a0".encode(), "invalid_request", id="a space that is not printable"),
        pytest.param(b"\xff", "invalid_request", id="invalid UTF-8"),
    ],
)
def test_an_unusable_key_is_refused(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged, key: bytes | None, code: str
) -> None:
    headers = {} if key is None else {"Idempotency-Key": key}
    with unchanged():
        answer = client("POST", "/v1/transfers", json=wallet_pair.transfer(), headers=headers)
    assert_problem(answer, 400, code)


@pytest.mark.parametrize("key", ["x", "x" * 255, "ü" * 255, "order 1/2 €"])
def test_a_printable_key_is_taken(client: Caller, wallet_pair: WalletPair, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    answer = client("POST", "/v1/transfers", json=wallet_pair.transfer(), headers=headers)
    assert answer.status_code in (
        202,
        422,
    )  # 422 on a second run: another wallet_pair, the same key


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 202),
        ("Application/JSON; Charset=UTF-8", 202),
        ('application/json; charset="utf-8"', 202),
        ("application/json; charset=latin-1", 415),
        ("application/json; charset=utf-8; version=2", 415),
        ("application/problem+json", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
        (None, 415),
    ],
)
def test_only_json_in_utf_8_is_read(
    client: Caller, wallet_pair: WalletPair, content_type: str | None, status: int
) -> None:
    answer = send(client, json.dumps(wallet_pair.transfer()).encode(), content_type)
    assert answer.status_code == status
    if status == 415:
        assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("path", "limit"),
    [("/v1/transfers", MIB), ("/v1/wallets", MIB), ("/v1/transfers/batch", 4 * MIB)],
)
def test_a_body_above_the_limit_is_refused(
    client: Caller, unchanged: Unchanged, path: str, limit: int
) -> None:
    body = b" " * (limit + 1)
    with unchanged():
        declared = send(client, body, path=path)
        chunked = send(client, iter([body[:limit], body[limit:]]), path=path)
    assert_problem(declared, 413, "too_large")
    assert_problem(chunked, 413, "too_large")


def test_a_body_of_just_the_limit_is_read(client: Caller, wallet_pair: WalletPair) -> None:
    body = json.dumps(wallet_pair.transfer()).encode()
    answer = send(client, body + b" " * (MIB - len(body)))
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "path",
    [
        "/v1/wallets?colour=blue",
        "/v1/wallets?limit=0",
        "/v1/wallets?limit=201",
        "/v1/wallets?limit=ten",
        "/v1/wallets?limit=1&limit=2",
        "/v1/wallets?cursor=garbage",
        "/v1/wallets?cursor=%00",
        "/v1/wallets?cursor=%ff",
        "/v1/transfers?cursor=d2FsbGV0czox",
        "/v1/transfers?wallet=me",
        "/v1/transfers?state=lost",
        "/v1/transfers?created_after=yesterday",
        "/v1/transfers?created_before=2026-02-30T00:00:00Z",
        "/v1/transfers?created_before=2026-02-01T00:00:00",
    ],
)
def test_an_unusable_query_is_refused(client: Caller, path: str) -> None:
    assert_invalid(client.get(path))


@pytest.mark.parametrize(
    "at", ["", "?at=", "?at=now", "?at=2026-01-01", "?at=0001-01-01T00:00:00%2B14:00"]
)
def test_a_balance_needs_a_real_time(client: Caller, wallet_pair: WalletPair, at: str) -> None:
    assert_invalid(client.get(f"/v1/wallets/{wallet_pair.source.id}/balance{at}"))


def test_a_balance_in_the_future_is_refused(client: Caller, wallet_pair: WalletPair) -> None:
    path = f"/v1/wallets/{wallet_pair.source.id}/balance?at=2999-01-01T00:00:00Z"
    assert_invalid(client.get(path))


@pytest.mark.parametrize(
    "body",
    [
        {"asset": "XXX"},
        {"asset": "USD", "name": ""},
        {"asset": "USD", "name": "x" * 256},
        {"asset": "USD", "kind": "transit"},
        {"asset": "USD", "owner": "me"},
        {"asset": "USD", "owner": "00000000-0000-0000-0000-000000000000"},
        {"asset": "USD", "balance": "1.00"},
        {"name": "no asset"},
    ],
)
def test_an_unusable_wallet_is_refused(
    admin: Caller, unchanged: Unchanged, body: dict[str, Any]
) -> None:
    with unchanged():
        answer = admin.post("/v1/wallets", body)
    assert_invalid(answer)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x", "scope": "root"},
        {"name": "x", "rate_limit": "fast"},
        {"name": "x", "rate_limit": "0/minute"},
        {"name": "x", "rate_limit": "10/minutes"},
        {"name": "x", "api_key": "mine"},
    ],
)
def test_an_unusable_client_is_refused(
    admin: Caller, unchanged: Unchanged, body: dict[str, Any]
) -> None:
    with unchanged():
        answer = admin.post("/v1/clients", body)
    assert_invalid(answer)


@pytest.mark.parametrize("action", ["capture", "void", "refund"])
def test_a_feature_that_is_not_available_yet_says_so(
    client: Caller, wallet_pair: WalletPair, unchanged: Unchanged, action: str
) -> None:
    transfer = client.submit(wallet_pair.transfer()).json()
    with unchanged():
        answer = client.post(f"/v1/transfers/{transfer['id']}/{action}", {})
    assert_invalid(answer)
    assert "not available yet" in answer.json()["detail"]


def send(
    client: Caller,
    body: Any,
    content_type: str | None = "application/json",
    *,
    path: str = "/v1/transfers",
) -> Any:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    if content_type is not None:
        headers["Content-Type"] = content_type
    return client("POST", path, data=body, headers=headers)
