"""Parts of the client that need no server: configuration, amounts, keys, answers, cutting."""

from __future__ import annotations

import json
import pickle
import uuid
from decimal import Decimal
from pathlib import Path

import pytest

import truepenny
from ledger.ids import transfer_id
from truepenny.answers.decoding import decode
from truepenny.calls.batches import MAX_BYTES, Cutter
from truepenny.environment import server
from truepenny.errors import BY_CODE, Problem
from truepenny.money import amount_text
from truepenny.protocol.exact_json import dumps, loads

CODES = (Path(__file__).parents[3] / "docs" / "CODES.md").read_text()
WITHOUT_A_CLASS = {
    "refused",  # no more than `Refused` says
    # Nobody who uses the client can cause these.
    *("method_not_allowed", "not_acceptable", "unsupported_media_type", "headers_too_large"),
    # Not refusals.
    *("rate_limited", "internal_error", "unavailable", "overloaded", "price_unavailable"),
}


def test_the_address_and_the_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUEPENNY_URL", "https://pay.example.com/")
    monkeypatch.setenv("TRUEPENNY_API_KEY", "secret")
    found = server(None, None)
    assert (found.base_url, found.api_key) == ("https://pay.example.com", "secret")
    assert server("http://other", "key").base_url == "http://other"
    monkeypatch.delenv("TRUEPENNY_API_KEY")
    with pytest.raises(truepenny.NotConfigured, match="TRUEPENNY_API_KEY"):
        truepenny.Truepenny()
    monkeypatch.delenv("TRUEPENNY_URL")
    with pytest.raises(truepenny.NotConfigured, match="TRUEPENNY_URL"):
        truepenny.AsyncTruepenny()


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("pay.example.com", "k"),
        ("ftp://pay.example.com", "k"),
        ("http://", "k"),
        ("http://host:99999", "k"),
        ("http://user:password@host", "k"),
        ("http://host?x=1", "k"),
        ("http://host", "two words"),
        ("http://host", "line\nbreak"),
        ("http://host", "ü"),
    ],
)
def test_what_cannot_be_used_is_refused_without_showing_the_key(url: str, key: str) -> None:
    with pytest.raises(truepenny.NotConfigured) as caught:
        truepenny.Truepenny(base_url=url, api_key=key)
    assert "password" not in str(caught.value)
    assert repr(key) not in str(caught.value)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+2"), "100"),
        (Decimal("1E-18"), "0.000000000000000001"),
        (Decimal("12345678901234567890123456789012345678.90"), None),
        (7, "7"),
        ("0.50", "0.50"),
    ],
)
def test_an_amount_is_sent_with_all_its_digits(
    amount: Decimal | int | str, text: str | None
) -> None:
    assert amount_text(amount) == (text or str(amount))


def test_ids_are_those_of_the_server() -> None:
    client = uuid.uuid4()
    for key in ("order-1", "Ünïcode → 1", "a b"):
        assert truepenny.transfer_id(client, key) == str(transfer_id(client, key))
        assert truepenny.transfer_id(str(client), key) == str(transfer_id(client, key))


@pytest.mark.parametrize("key", ["", " a", "a ", "a\nb", "x" * 256])
def test_a_key_that_the_server_would_refuse_is_refused_before_any_request(key: str) -> None:
    nobody = truepenny.Truepenny(base_url="http://127.0.0.1:1", api_key="none")
    with pytest.raises(ValueError, match="printable"):
        nobody.transfers.create(
            source="s", destination="d", amount=1, asset="USD", idempotency_key=key
        )


def test_every_refusal_of_the_server_has_a_class() -> None:
    documented = {line.split("`")[1] for line in CODES.splitlines() if line.startswith("| `")}
    from api.schemas.codes import ERROR_CODES, FAILURE_CODES

    assert set(ERROR_CODES) <= documented
    codes = (set(ERROR_CODES) | set(FAILURE_CODES)) - WITHOUT_A_CLASS
    assert codes <= set(BY_CODE)
    assert {kind.__name__ for kind in BY_CODE.values()} <= set(truepenny.__all__)


def test_errors_can_be_sent_to_another_process() -> None:
    problem = Problem(422, "wallet_frozen", "frozen", "r")
    for error in (
        truepenny.OutcomeUnknown("k", "t", reason="cut"),
        truepenny.NotRecorded("full", attempts=6, idempotency_key="k"),
        truepenny.Unavailable("cut", attempts=6),
        truepenny.WalletFrozen(problem),
        truepenny.NotSeenYet("k", "t"),
        truepenny.StillUnderWay("t", "reserved"),
    ):
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_unknown_fields_survive_and_missing_ones_are_an_error() -> None:
    asset = decode(truepenny.Asset, {"code": "USD", "scale": 2, "symbol": "$"})
    assert (asset.code, asset.extra) == ("USD", {"symbol": "$"})
    wrongs: list[object] = [
        {"code": "USD"},
        {"code": "USD", "scale": "2"},
        {"code": None, "scale": 2},
        [],
    ]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="Asset"):
            decode(truepenny.Asset, wrong)


def test_json_keeps_the_digits_of_decimals() -> None:
    value = {"rate": Decimal("1.10"), "list": [Decimal("1E-20"), 1, "ü", None, True]}
    assert loads(dumps(value)) == value
    assert str(loads(dumps(value))["rate"]) == "1.10"
    for wrong in (float("nan"), Decimal("Infinity"), object(), {1: Decimal(1)}):
        with pytest.raises((ValueError, TypeError)):
            dumps(wrong)
    for text in (b"NaN", b"{", b"[" * 100_000):
        with pytest.raises(ValueError, match=r"."):
            loads(text)


def test_a_batch_is_cut_at_its_items_and_at_its_bytes() -> None:
    def item(size: int) -> truepenny.NewTransfer:
        return truepenny.NewTransfer(
            source="s", destination="d", amount=1, asset="USD", reference="x" * size
        )

    cutter = Cutter(max_items=3, max_bytes=MAX_BYTES)
    assert [len(cutter.add(item(1))) for _ in range(7)] == [0, 0, 0, 3, 0, 0, 3]
    assert len(cutter.rest()) == 1
    cutter = Cutter()
    pieces = [cutter.add(item(8_000)) for _ in range(1_500)]
    pieces = [*filter(None, pieces), cutter.rest()]
    assert sum(map(len, pieces)) == 1_500
    for piece in pieces:
        sizes = [len(each.encoded) for each in piece]
        assert sum(sizes) + len(sizes) - 1 + len(b'{"transfers":[]}') <= MAX_BYTES
    # No piece has room for one more.
    first = pieces[0]
    assert sum(len(each.encoded) + 1 for each in first) + len(first[0].encoded) > MAX_BYTES - 17
    assert json.loads(first[0].encoded)["idempotency_key"] == first[0].idempotency_key
