"""Acceptance: one transfer per client and key, also for repeated and concurrent requests."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Text, select, text

from ledger import acceptance, wallets
from ledger.acceptance import Acceptance, TransferRequest
from ledger.errors import (
    AssetMismatch,
    Forbidden,
    IdempotencyKeyReused,
    Invalid,
    SameWallet,
    Unavailable,
    WalletNotFound,
)
from ledger.funds.door import Undecided
from ledger.ids import new_id, transfer_id
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter
from ledger.postgres.database import autocommit, transaction
from ledger.postgres.exact_json import Number
from testing.bank import Bank
from testing.concurrent_transactions import second_waits_for_first
from testing.servers.databases import as_owner


def rows_of(bank: Bank) -> dict[str, int]:
    with transaction(bank.engine) as connection:
        return {
            table: connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608 - our own words
            for table in ("transfers", "unfinished", "outcomes", "postings", "events")
        }


def replays(answers: Sequence[Acceptance | Invalid | Undecided]) -> list[bool]:
    return [isinstance(answer, Acceptance) and answer.replayed for answer in answers]


def test_a_repeat_finds_the_transfer_as_it_stands_and_changes_nothing(bank: Bank) -> None:
    request = bank.request(bank.wallet(100), bank.wallet(), 60, reference="rent")
    [first] = bank.answers(request)
    assert isinstance(first, Acceptance)
    assert not first.replayed
    assert first.transfer.id == transfer_id(bank.client.id, request.idempotency_key)
    before = rows_of(bank)
    [again] = bank.answers(request)
    assert again == Acceptance(first.transfer, replayed=True)
    assert rows_of(bank) == before
    bank.settle()
    [later] = bank.answers(request)
    assert isinstance(later, Acceptance)
    assert (later.replayed, later.transfer.state) == (True, "committed")
    assert later.transfer == bank.transfer(first.transfer.id)
    bank.audit()


@pytest.mark.parametrize("settled", [False, True])
def test_a_key_with_another_content_is_refused_and_changes_nothing(
    bank: Bank, settled: bool
) -> None:
    source, destination, other = bank.wallet(100), bank.wallet(), bank.wallet(100)
    request = replace(bank.request(source, destination, 60), metadata={"order": 1})
    bank.accept(request)
    if settled:
        bank.settle()
    before = rows_of(bank)
    changes: list[dict[str, Any]] = [
        {"amount_minor": 61},
        {"destination_id": other.id},
        {"source_id": other.id},
        {"reference": "other"},
        {"reference": ""},
        {"metadata": {"order": "1"}},
        {"metadata": {}},
        {"metadata": None},
    ]
    for change in changes:
        [answer] = bank.answers(replace(request, **change))
        assert isinstance(answer, IdempotencyKeyReused), change
    assert rows_of(bank) == before
    assert not isinstance(bank.answers(request)[0], Invalid)
    bank.audit()


def test_the_order_of_metadata_does_not_matter(bank: Bank) -> None:
    request = bank.request(bank.wallet(100), bank.wallet(), 60)
    bank.accept(replace(request, metadata={"a": 1, "b": {"c": 2, "d": 3}}))
    [again] = bank.answers(replace(request, metadata={"b": {"d": 3, "c": 2}, "a": 1}))
    assert replays([again]) == [True]


def test_two_clients_may_use_the_same_key(bank: Bank) -> None:
    other = bank.new_client()
    destination = bank.wallet()
    mine = bank.request(bank.wallet(10), destination, 1, key="k")
    theirs = bank.request(bank.wallet(10, owner=other), destination, 2, key="k", client=other)
    assert len(set(bank.accept(mine, theirs))) == 2


def test_duplicates_within_one_call_make_one_transfer(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    one, two = (bank.request(source, destination, amount) for amount in (10, 20))
    answers = bank.answers(one, two, one, replace(two, amount_minor=21), one, two)
    assert replays(answers) == [False, False, True, False, True, True]
    assert isinstance(answers[3], IdempotencyKeyReused)
    assert rows_of(bank)["transfers"] == 1 + 2, "the funding and the two"
    bank.settle()
    assert bank.look(source).balance == 70
    bank.audit()


def test_a_refused_duplicate_within_one_call_is_the_same_refusal(bank: Bank) -> None:
    request = bank.request(bank.wallet(1), bank.wallet(), 2)
    one, two = bank.answers(request, request)
    assert isinstance(one, Acceptance)
    assert isinstance(two, Acceptance)
    assert (one.transfer, two.replayed) == (two.transfer, True)
    assert one.transfer.state == "rejected"


@pytest.mark.parametrize("autocommitted", [True, False])
def test_two_calls_with_the_same_keys_in_opposite_orders_make_one_transfer_each(
    bank: Bank, autocommitted: bool
) -> None:
    source, destination = bank.wallet(10_000), bank.wallet()
    requests = [bank.request(source, destination, 1) for _ in range(100)]
    start = threading.Barrier(2)
    with as_owner(bank.engine) as connection:  # so that the two surely meet
        connection.execute(
            text("""
                CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(0.003); RETURN NEW; END $$;
                CREATE TRIGGER slow BEFORE INSERT ON transfers
                FOR EACH ROW EXECUTE FUNCTION slow();
            """)
        )
    opened = autocommit if autocommitted else transaction

    def submit(mine: list[TransferRequest]) -> list[Acceptance | Invalid | Undecided]:
        start.wait(10)
        with opened(bank.engine) as connection:
            return acceptance.accept(connection, mine)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(submit, (requests, requests[::-1])))
    forward, backward = replays(results[0]), replays(results[1])[::-1]
    assert [one + two for one, two in zip(forward, backward, strict=True)] == [1] * 100
    bank.settle()
    assert bank.look(destination).balance == 100
    bank.audit()


def test_a_call_waits_for_another_with_its_key_and_then_finds_its_transfer(bank: Bank) -> None:
    request = bank.request(bank.wallet(10), bank.wallet(), 1)
    one, two = second_waits_for_first(
        bank.engine,
        lambda connection: acceptance.accept(connection, [request]),
        lambda connection: acceptance.accept(connection, [request]),
    )
    assert (replays(one), replays(two)) == ([False], [True])


def test_two_hundred_threads_with_one_key_make_one_transfer(bank: Bank) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    request = bank.request(source, destination, 7)
    start = threading.Barrier(200)

    def submit(_: int) -> Acceptance | Invalid:
        start.wait(30)
        while True:  # as a client does when the database is busy
            try:
                return bank.answers(request)[0]
            except Unavailable:
                continue

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(submit, range(200)))
    assert sorted(replays(answers)) == [False] + [True] * 199
    assert {answer.transfer.id for answer in answers if isinstance(answer, Acceptance)} == {
        transfer_id(bank.client.id, request.idempotency_key)
    }
    bank.settle()
    assert bank.look(destination).balance == 7
    bank.audit()


def test_a_request_that_is_wrong_leaves_nothing_behind(bank: Bank) -> None:
    other = bank.new_client()
    mine, theirs = bank.wallet(100), bank.wallet(100, owner=other)
    euros, outside, own_outside = bank.wallet(100, asset="EUR"), bank.external["USD"], new_id()
    with transaction(bank.engine) as connection:
        transit: UUID = connection.execute(
            text("SELECT id FROM wallets WHERE kind = 'transit' AND asset = 'USD'")
        ).scalar_one()
        connection.execute(
            text("INSERT INTO wallets (id, owner_id, asset, kind) VALUES (:id, :me, 'USD', :kind)"),
            {"id": own_outside, "me": bank.client.id, "kind": "external"},
        )
    before = rows_of(bank)
    wrong: list[tuple[TransferRequest, type[Invalid]]] = [
        (bank.request(new_id(), mine, 1), WalletNotFound),
        (bank.request(mine, new_id(), 1), WalletNotFound),
        (bank.request(theirs, mine, 1), WalletNotFound),
        (bank.request(transit, mine, 1), WalletNotFound),
        (bank.request(mine, transit, 1), WalletNotFound),
        (bank.request(transit, mine, 1, client=bank.admin), WalletNotFound),
        (bank.request(mine, transit, 1, client=bank.admin), WalletNotFound),
        (bank.request(mine, mine, 1), SameWallet),
        (bank.request(new_id(), new_id(), 1), WalletNotFound),
        (bank.request(mine, euros, 1), AssetMismatch),
        (bank.request(euros, mine, 1), AssetMismatch),
        (replace(bank.request(mine, theirs, 1), asset="EUR"), AssetMismatch),
        (bank.request(outside, mine, 1), WalletNotFound),
        (bank.request(own_outside, mine, 1), Forbidden),
    ]
    good = bank.request(mine, theirs, 1)
    answers = bank.answers(*(request for request, _ in wrong), good)
    assert [type(answer) for answer in answers] == [kind for _, kind in wrong] + [Acceptance]
    assert rows_of(bank) == {
        **before,
        "transfers": before["transfers"] + 1,
        "unfinished": before["unfinished"] + 1,
    }
    assert [type(bank.answers(request)[0]) for request, _ in wrong] == [kind for _, kind in wrong]


def test_an_asset_without_a_transit_wallet_is_refused_and_disturbs_no_other(bank: Bank) -> None:
    with transaction(bank.engine) as connection:
        connection.execute(text("INSERT INTO assets VALUES ('LOST', 2)"))
    source, destination = bank.wallet(asset="LOST", kind="external"), bank.wallet(asset="LOST")
    usual = bank.request(bank.wallet(), bank.wallet(), 1, client=bank.admin)
    lost = replace(usual, source_id=source.id, destination_id=destination.id, asset="LOST")
    good = bank.request(bank.wallet(100), bank.wallet(), 60)
    before = rows_of(bank)
    refused, accepted = bank.answers(lost, good)
    assert isinstance(refused, WalletNotFound)
    assert "The asset LOST has no transit wallet" in refused.detail
    assert isinstance(accepted, Acceptance)
    assert rows_of(bank)["transfers"] == before["transfers"] + 1
    bank.settle()
    assert bank.state(accepted.transfer.id) == "committed"
    with transaction(bank.engine) as connection:
        connection.execute(
            text("INSERT INTO wallets (id, asset, kind) VALUES (:id, 'LOST', 'transit')"),
            {"id": new_id()},
        )
    [id] = bank.accept(lost)
    bank.settle()
    assert bank.state(id) == "committed"
    bank.audit()


def test_a_corrected_request_may_follow_under_the_same_key(bank: Bank) -> None:
    mine, other = bank.wallet(100), bank.wallet()
    wrong = bank.request(mine, new_id(), 1, key="k")
    assert isinstance(bank.answers(wrong)[0], WalletNotFound)
    [answer] = bank.answers(replace(wrong, destination_id=other.id))
    assert replays([answer]) == [False]
    assert isinstance(answer, Acceptance)


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        ("no funds", "insufficient_funds"),
        ("source frozen", "wallet_frozen"),
        ("destination frozen", "wallet_frozen"),
        ("destination closed", "wallet_closed"),
        ("source closed", "wallet_closed"),
    ],
)
def test_a_refusal_is_recorded_and_stays_when_its_cause_is_gone(
    bank: Bank, cause: str, code: str
) -> None:
    source = bank.wallet(0 if cause in ("no funds", "source closed") else 100)
    destination = bank.wallet()
    party = source if cause.startswith("source") else destination
    with transaction(bank.engine) as connection:
        if cause.endswith("frozen"):
            wallets.freeze(connection, party.id)
        if cause.endswith("closed"):
            wallets.close(connection, party.id)
    before = rows_of(bank)
    request = bank.request(source, destination, 60)
    [first] = bank.answers(request)
    assert isinstance(first, Acceptance)
    assert (first.replayed, first.transfer.state) == (False, "rejected")
    assert first.transfer.failure is not None
    assert first.transfer.failure.code == code
    assert rows_of(bank) == {
        **before,
        "transfers": before["transfers"] + 1,
        "outcomes": before["outcomes"] + 1,
    }
    with transaction(bank.engine) as connection:
        if cause.endswith("frozen"):
            wallets.unfreeze(connection, party.id)
    if cause == "no funds":
        bank.fund(100, source)
    [again] = bank.answers(request)
    assert again == Acceptance(bank.transfer(first.transfer.id), replayed=True)
    assert isinstance(again, Acceptance)
    assert again.transfer == first.transfer
    bank.settle()
    assert bank.state(first.transfer.id) == "rejected"
    assert bank.timeline(first.transfer.id) == ["accepted", "rejected"]
    bank.audit()


def test_reserved_money_is_not_available_to_another_transfer(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    bank.reach("reserved", bank.request(source, destination, 60))
    [too_much, fits] = bank.accept(
        bank.request(source, destination, 41), bank.request(source, destination, 40)
    )
    assert (bank.state(too_much), bank.state(fits)) == ("rejected", "accepted")


def test_a_refused_key_with_another_content_is_a_reuse(bank: Bank) -> None:
    source, destination = bank.wallet(1), bank.wallet()
    request = bank.request(source, destination, 2)
    bank.accept(request)
    assert isinstance(bank.answers(replace(request, amount_minor=1))[0], IdempotencyKeyReused)


def test_transfers_are_queued_in_the_given_order(bank: Bank) -> None:
    source, destination = bank.wallet(10_000), bank.wallet()
    made = []
    for size in (1, 400, 3):
        made += bank.accept(*(bank.request(source, destination, 1) for _ in range(size)))
    assert made != sorted(made)
    with transaction(bank.engine) as connection:
        line = list(connection.scalars(text("SELECT transfer_id FROM unfinished ORDER BY seq")))
    assert line == made


def test_no_requests_give_no_answers(bank: Bank) -> None:
    assert bank.answers() == []


def test_a_request_is_stored_unchanged(bank: Bank) -> None:
    request = replace(
        bank.request(bank.wallet(10), bank.wallet(), 9, reference='\\"{},NULL\n\u20ac\U0001f4b6'),
        metadata={
            "quote": '"',
            "null": None,
            "nested": [{"\\": "\u2028"}],
            "big": 10**40,
            "x": Number("1.50"),
        },
    )
    [answer] = bank.answers(request)
    assert isinstance(answer, Acceptance)
    kept = bank.transfer(answer.transfer.id)
    assert kept == answer.transfer
    assert (kept.reference, kept.metadata) == (request.reference, request.metadata)
    assert (kept.amount_minor, kept.scale, kept.state) == (9, 2, "accepted")


_COLUMNS: Columns = {"word": Text()}
_GIVEN = rows_parameter("given", _COLUMNS)
_words = st.lists(
    st.none()
    | st.sampled_from(["", "NULL", "null", '"', "\\", "{}", ",", "\\N", "a,b", " x ", "\n\r\t"])
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=_words)
def test_any_text_comes_back_from_the_database_as_it_was_sent(
    shared_bank: Bank, words: list[str | None]
) -> None:
    query = select(_GIVEN.c.word).order_by(_GIVEN.c.position)
    with autocommit(shared_bank.engine) as connection:
        argument = rows_argument(_COLUMNS, ((word,) for word in words))
        assert list(connection.scalars(query, argument)) == words


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    numbers=st.lists(st.integers(-(10**37), 10**37), min_size=1, max_size=20),
    blob=st.binary(max_size=40),
)
def test_any_numbers_ids_and_bytes_come_back_as_they_were_sent(
    shared_bank: Bank, numbers: list[int], blob: bytes
) -> None:
    columns: Columns = {name: acceptance._INPUT[name] for name in ("amount", "id", "fingerprint")}
    given_rows = rows_parameter("given", columns)
    rows = [(number, uuid.uuid4(), blob) for number in numbers]
    with autocommit(shared_bank.engine) as connection:
        query = select(*(given_rows.c[name] for name in columns)).order_by(given_rows.c.position)
        found = connection.execute(query, rows_argument(columns, rows)).all()
    assert [(int(amount), id, bytes(blob)) for amount, id, blob in found] == rows
