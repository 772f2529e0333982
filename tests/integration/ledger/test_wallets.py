"""Wallet queries: statements, past balances, paged lists, timelines, and permissions."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from ledger import transfers, wallets
from ledger.clients import Client
from ledger.errors import Forbidden, Invalid, InvalidField, NotFound, Unavailable
from ledger.ids import new_id
from ledger.postgres import running_steps
from ledger.postgres.database import autocommit, transaction
from ledger.states import STEPS, UNFINISHED, State
from ledger.steps import run_step
from ledger.transfers import TimelineEntry, Transfer, TransferFilter
from ledger.wallets import StatementLine, Wallet
from testing.bank import Bank
from testing.concurrent_transactions import TIMEOUT_S, meanwhile
from testing.servers.databases import as_owner
from testing.wallet_lock import locked

EVERYTHING = TransferFilter()
MICROSECOND = timedelta(microseconds=1)


def statement(bank: Bank, wallet: Wallet, *, limit: int = 200) -> list[StatementLine]:
    """Read the whole statement, page by page."""
    lines: list[StatementLine] = []
    while True:
        before = (lines[-1].created_at, lines[-1].seq) if lines else None
        with autocommit(bank.engine) as connection:
            _, page = wallets.statement(
                connection, wallet.id, caller=bank.admin, limit=limit, before=before
            )
        assert len(page) <= limit
        lines += page
        if len(page) < limit:
            return lines


def balance_at(bank: Bank, wallet: Wallet, at: datetime) -> int:
    with autocommit(bank.engine) as connection:
        _, balance = wallets.balance_at(connection, wallet.id, at, caller=bank.admin)
    return balance


def listed(
    bank: Bank, caller: Client, narrow: TransferFilter = EVERYTHING, *, limit: int = 200
) -> list[Transfer]:
    """Read the whole list as this caller, page by page."""
    found: list[Transfer] = []
    while True:
        after = (found[-1].created_at, found[-1].id) if found else None
        with autocommit(bank.engine) as connection:
            page = transfers.list_transfers(
                connection, caller=caller, limit=limit, after=after, narrow=narrow
            )
        assert len(page) <= limit
        found += page
        if len(page) < limit:
            return found


def sql(bank: Bank, statement: str, **arguments: object) -> list[Any]:
    with as_owner(bank.engine) as connection:
        result = connection.execute(text(statement), arguments)
        return list(result.scalars()) if result.returns_rows else []


def test_a_statement_shows_both_sides_newest_first(bank: Bank) -> None:
    a, b, c = bank.wallet(100), bank.wallet(), bank.wallet()
    made = []
    for one, two, amount in ((a, b, 30), (b, c, 20), (b, a, 5)):
        made += bank.accept(bank.request(one, two, amount))
        bank.settle()
    lines = statement(bank, b)
    assert [(line.leg, line.amount_minor, line.balance_after_minor) for line in lines] == [
        ("deduct", -5, 5),
        ("deduct", -20, 10),
        ("credit", 30, 30),
    ]
    assert [line.transfer_id for line in lines] == made[::-1]
    assert [line.counterparty_id for line in lines] == [a.id, c.id, a.id]
    assert [line.created_at for line in lines] == sorted(
        (line.created_at for line in lines), reverse=True
    )


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_the_pages_of_a_statement_have_no_gaps_and_no_repeats(
    shared_bank: Bank, limit: int
) -> None:
    bank = shared_bank
    a, b = bank.wallet(1_000), bank.wallet(1_000)
    # Postings of one step have the same time, to the microsecond.
    for one, two in ((a, b), (b, a)):
        bank.accept(*(bank.request(one, two, 1 + n) for n in range(8)))
    bank.settle()
    lines = statement(bank, a, limit=limit)
    assert lines == statement(bank, a)
    assert len({(line.transfer_id, line.leg) for line in lines}) == len(lines) == 17
    assert sum(line.amount_minor for line in lines) == bank.look(a).balance
    for newer, older in itertools.pairwise(lines):
        assert newer.balance_after_minor == older.balance_after_minor + newer.amount_minor


def test_a_statement_shows_a_transfer_and_its_refund(bank: Bank) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    batch = bank.reach("credited", bank.request(source, destination, 30))
    with transaction(bank.engine) as connection:
        wallets.freeze(connection, destination.id)
    bank.step("commit", batch)
    bank.roll_back(batch)
    assert [(line.leg, line.amount_minor) for line in statement(bank, destination)] == [
        ("uncredit", -30),
        ("credit", 30),
    ]
    assert [
        (line.leg, line.amount_minor, line.balance_after_minor) for line in statement(bank, source)
    ] == [
        ("refund", 30, 100),
        ("deduct", -30, 70),
        ("credit", 100, 100),
    ]


def test_the_balance_at_a_time_changes_exactly_with_each_posting(bank: Bank) -> None:
    wallet, other = bank.wallet(100), bank.wallet()
    for amount in (10, 20, 30):
        bank.accept(bank.request(wallet, other, amount))
        bank.settle()
    lines = statement(bank, wallet)[::-1]
    assert [line.balance_after_minor for line in lines] == [100, 90, 70, 40]
    before = 0
    for line in lines:
        assert balance_at(bank, wallet, line.created_at - MICROSECOND) == before
        assert balance_at(bank, wallet, line.created_at) == line.balance_after_minor
        before = line.balance_after_minor
    assert balance_at(bank, wallet, wallet.created_at - timedelta(days=400)) == 0
    assert balance_at(bank, wallet, wallet.created_at) == 0
    with pytest.raises(Invalid, match="future"):
        balance_at(bank, wallet, datetime(9999, 1, 1, tzinfo=UTC))


def test_the_balance_at_a_time_waits_for_a_running_commit(bank: Bank) -> None:
    wallet, batch = bank.wallet(100), new_id()
    bank.accept(bank.request(wallet, bank.wallet(), 30))
    bank.step("reserve", batch)
    stamps: list[datetime] = []

    def deduct(connection: Connection) -> None:
        run_step(connection, "deduct", batch, worker="test")
        stamps.append(connection.scalar(text("SELECT max(created_at) FROM postings")))

    def read(connection: Connection) -> int:
        return wallets.balance_at(connection, wallet.id, stamps[0], caller=bank.admin)[1]

    with meanwhile(bank.engine, read) as start:
        with transaction(bank.engine) as connection:
            deduct(connection)
            reading = start()
            time.sleep(0.2)
            assert not reading.done()
        assert reading.result(TIMEOUT_S) == 70


def test_the_balance_at_a_time_locks_nothing_and_writes_nothing(bank: Bank) -> None:
    wallet, other = bank.wallet(100), bank.wallet()
    bank.accept(bank.request(wallet, other, 30))
    bank.settle()
    with transaction(bank.engine) as connection:
        now = connection.scalar(text("SELECT clock_timestamp()"))
        _, balance = wallets.balance_at(connection, wallet.id, now, caller=bank.admin)
        assert balance == 70
        assert connection.scalar(text("SELECT pg_current_xact_id_if_assigned()")) is None
        # The reader's transaction is still open, and a movement of the wallet does not wait.
        bank.accept(bank.request(wallet, other, 1))
        bank.settle()
    assert bank.look(wallet).balance == 69


def test_the_balance_at_a_time_is_read_from_a_locked_wallet(bank: Bank) -> None:
    wallet = bank.wallet(100)
    with locked(bank.engine, wallet, lock="UPDATE"):
        assert balance_at(bank, wallet, bank.look(wallet).created_at) == 0
        assert balance_at(bank, wallet, statement(bank, wallet)[0].created_at) == 100


def test_the_balance_at_a_time_does_not_wait_for_the_steps_of_other_wallets(bank: Bank) -> None:
    wallet, batch = bank.wallet(100, asset="EUR"), new_id()
    at = statement(bank, wallet)[0].created_at
    bank.accept(bank.request(bank.wallet(100), bank.wallet(), 30))
    bank.step("reserve", batch)
    with transaction(bank.engine) as connection:
        run_step(connection, "deduct", batch, worker="test")
        began_s = time.monotonic()
        assert balance_at(bank, wallet, at) == 100
        assert time.monotonic() - began_s < running_steps.WAIT_S


def test_a_reader_gives_up_on_a_step_that_does_not_end(bank: Bank) -> None:
    wallet, batch = bank.wallet(100), new_id()
    bank.accept(bank.request(wallet, bank.wallet(), 30))
    bank.step("reserve", batch)
    with transaction(bank.engine) as connection:
        run_step(connection, "deduct", batch, worker="test")
        with pytest.raises(Unavailable, match="unusually long"):
            balance_at(bank, wallet, bank.look(wallet).created_at)


def test_with_many_postings_at_one_time_the_balance_is_after_the_last(bank: Bank) -> None:
    wallet, other = bank.wallet(100), bank.wallet()
    bank.accept(*(bank.request(wallet, other, 1 + n) for n in range(5)))
    bank.settle()
    [at] = {line.created_at for line in statement(bank, other)}
    assert balance_at(bank, other, at) == 15
    assert balance_at(bank, other, at - MICROSECOND) == 0


def test_times_never_run_backwards_even_if_the_clock_does(bank: Bank) -> None:
    """After the clock is set back, the last posting of a wallet is in the future."""
    a, b, c = bank.wallet(100), bank.wallet(), bank.wallet()
    ahead = timedelta(hours=3)
    sql(
        bank,
        "UPDATE wallets SET posted_at = posted_at + :ahead WHERE id = :id",
        ahead=ahead,
        id=a.id,
    )
    [first] = bank.accept(bank.request(a, b, 30))
    bank.settle()
    [second] = bank.accept(bank.request(b, c, 20))
    bank.settle()
    for wallet in (a, b, c):
        lines = sorted(statement(bank, wallet), key=lambda line: line.seq)
        assert [line.created_at for line in lines] == sorted(line.created_at for line in lines)
        for line in lines:
            # Until the clock has caught up, postings share one time, and the last one counts.
            last = [other for other in lines if other.created_at <= line.created_at][-1]
            assert balance_at(bank, wallet, line.created_at) == last.balance_after_minor
        assert bank.look(wallet).balance == balance_at(bank, wallet, lines[-1].created_at)
    times = sql(bank, "SELECT created_at FROM postings WHERE transfer_id = ANY(:ids) ORDER BY seq",
                ids=[first, second])  # fmt: skip
    assert times == sorted(times)
    assert times[0] - datetime.now(UTC) > ahead - timedelta(minutes=5)
    bank.audit()


def test_a_client_sees_its_own_wallets_alone(bank: Bank) -> None:
    stranger = bank.new_client()
    mine, theirs = bank.wallet(10), bank.wallet(owner=stranger)
    reads: list[Callable[[Any, Client], object]] = [
        lambda connection, caller: wallets.get_wallet(connection, mine.id, caller=caller),
        lambda connection, caller: wallets.statement(
            connection, mine.id, caller=caller, limit=1, before=None
        ),
        lambda connection, caller: wallets.balance_at(
            connection, mine.id, datetime.now(UTC), caller=caller
        ),
    ]
    for read in reads:
        with autocommit(bank.engine) as connection:
            assert read(connection, bank.client)
            assert read(connection, bank.admin)
            with pytest.raises(NotFound):
                read(connection, stranger)
    with autocommit(bank.engine) as connection:
        page = wallets.list_wallets(connection, caller=stranger, limit=200, after=None)
        everything = wallets.list_wallets(connection, caller=bank.admin, limit=200, after=None)
    assert [wallet.id for wallet in page] == [theirs.id]
    assert {mine.id, theirs.id} < {wallet.id for wallet in everything}
    with autocommit(bank.engine) as connection, pytest.raises(NotFound):
        wallets.get_wallet(connection, new_id(), caller=bank.admin)


@pytest.mark.parametrize("limit", [1, 3, 5, 100])
def test_the_pages_of_wallets_have_no_gaps_and_no_repeats(bank: Bank, limit: int) -> None:
    made = [bank.wallet().id for _ in range(11)]
    sql(
        bank,
        "UPDATE wallets SET created_at = date_trunc('day', created_at) WHERE kind = 'customer'",
    )
    found: list[Wallet] = []
    while True:
        after = (found[-1].created_at, found[-1].id) if found else None
        with autocommit(bank.engine) as connection:
            page = wallets.list_wallets(connection, caller=bank.client, limit=limit, after=after)
        found += page
        if len(page) < limit:
            break
    assert [wallet.id for wallet in found] == sorted(made)


def test_only_an_admin_makes_wallets_for_others_or_of_other_kinds(bank: Bank) -> None:
    other = bank.new_client()

    def make(caller: Client, **given: Any) -> Wallet:
        terms: dict[str, Any] = {
            "asset": "USD",
            "name": None,
            "kind": "customer",
            "owner_id": None,
            "metadata": {},
        }
        with transaction(bank.engine) as connection:
            return wallets.create_wallet(connection, caller=caller, **{**terms, **given})

    assert make(bank.client).owner_id == bank.client.id
    assert make(bank.client, owner_id=bank.client.id, metadata={"a": [None]}).metadata == {
        "a": [None]
    }
    assert make(bank.admin, owner_id=other.id, kind="house").owner_id == other.id
    for given in (
        {"kind": "external"},
        {"kind": "house"},
        {"kind": "transit"},
        {"owner_id": other.id},
    ):
        with pytest.raises(Forbidden):
            make(bank.client, **given)
    for given in ({"kind": "transit"}, {"asset": "usd"}, {"asset": "XXX"}, {"owner_id": new_id()}):
        with pytest.raises(InvalidField):
            make(bank.admin, **given)


def test_sender_and_receiver_see_a_transfer_and_nobody_else_does(bank: Bank) -> None:
    receiver, stranger = bank.new_client(), bank.new_client()
    source, destination = bank.wallet(10), bank.wallet(owner=receiver)
    [transfer] = bank.accept(bank.request(source, destination, 1))
    for caller in (bank.client, receiver, bank.admin):
        with autocommit(bank.engine) as connection:
            assert transfers.get_transfer(connection, transfer, caller=caller).id == transfer
        assert transfer in [seen.id for seen in listed(bank, caller)]
    with autocommit(bank.engine) as connection, pytest.raises(NotFound):
        transfers.get_transfer(connection, transfer, caller=stranger)
    with autocommit(bank.engine) as connection, pytest.raises(NotFound):
        transfers.get_transfer(connection, new_id(), caller=bank.admin)
    assert listed(bank, stranger) == []
    assert listed(bank, stranger, TransferFilter(wallet_id=source.id)) == []
    assert [seen.id for seen in listed(bank, receiver, TransferFilter(wallet_id=source.id))] == [
        transfer
    ], "of another's wallet, what touches its own"


@dataclass(frozen=True)
class Crowd:
    """Make two groups of thirty transfers at one instant each; most touch a client twice."""

    callers: dict[str, tuple[Client, TransferFilter]]
    expected: dict[str, set[UUID]]
    """Return the transfers that each caller sees."""
    others: set[UUID]


@pytest.fixture(scope="module")
def crowd(shared_bank: Bank) -> Crowd:
    bank = shared_bank
    receiver = bank.new_client()
    a, b, c = bank.wallet(1_000), bank.wallet(1_000), bank.wallet(1_000, owner=receiver)
    others = set(sql(bank, "SELECT id FROM transfers"))
    made: list[UUID] = []
    for _ in range(2):
        pairs = [(a, b), (b, a), (a, c)] * 10
        made += bank.accept(*(bank.request(one, two, 1) for one, two in pairs))
    to_receiver = set(made[2::3])
    return Crowd(
        callers={
            "client": (bank.client, EVERYTHING),
            "receiver": (receiver, EVERYTHING),
            "admin": (bank.admin, EVERYTHING),
            "wallet": (bank.client, TransferFilter(wallet_id=b.id)),
        },
        expected={
            "client": set(made),
            "receiver": to_receiver,
            "admin": set(made),
            "wallet": set(made) - to_receiver,
        },
        others=others,
    )


@pytest.mark.parametrize("limit", [1, 2, 7, 60, 200])
@pytest.mark.parametrize("by", ["client", "receiver", "admin", "wallet"])
def test_the_pages_of_transfers_have_no_gaps_and_no_repeats(
    shared_bank: Bank, crowd: Crowd, limit: int, by: str
) -> None:
    found = listed(shared_bank, *crowd.callers[by], limit=limit)
    ids = [transfer.id for transfer in found]
    assert len(ids) == len(set(ids))
    assert set(ids) - crowd.others == crowd.expected[by]
    keys = [(transfer.created_at, transfer.id) for transfer in found]
    assert keys == sorted(keys, reverse=True)


def test_a_list_of_transfers_is_filtered_by_state_wallet_and_time(bank: Bank) -> None:
    a, b, c = bank.wallet(1_000), bank.wallet(), bank.wallet()
    states: dict[UUID, State] = {}
    batch = bank.reach("credited", bank.request(a, b, 1))
    states |= dict.fromkeys(open_transfers(bank), "credited")
    bank.reach("deducted", bank.request(a, c, 1))
    states |= dict.fromkeys(open_transfers(bank) - set(states), "deducted")
    bank.reach("reserved", bank.request(a, b, 1))
    states |= dict.fromkeys(open_transfers(bank) - set(states), "reserved")
    # Nothing is on its way to this source, so it is refused at once.
    [refused] = bank.accept(bank.request(a, c, 10**6))
    [waiting] = bank.accept(bank.request(a, c, 1))
    states |= {refused: "rejected", waiting: "accepted"}
    every: tuple[State, ...] = (*UNFINISHED, "rejected", "rolled_back")
    for state in every:
        found = listed(bank, bank.client, TransferFilter(state=state))
        assert {transfer.id for transfer in found} == {id for id in states if states[id] == state}
        assert {transfer.state for transfer in found} <= {state}
    bank.step("commit", batch)
    committed = listed(bank, bank.client, TransferFilter(wallet_id=b.id, state="committed"))
    assert [transfer.destination_id for transfer in committed] == [b.id]
    everything = listed(bank, bank.client)
    for pivot in everything:
        at = pivot.created_at
        newer = listed(bank, bank.client, TransferFilter(created_after=at))
        older = listed(bank, bank.client, TransferFilter(created_before=at))
        same = [transfer for transfer in everything if transfer.created_at == at]
        assert [t.id for t in (*newer, *same, *older)] == [t.id for t in everything]
    both = TransferFilter(
        created_after=everything[-1].created_at, created_before=everything[0].created_at
    )
    assert [t.id for t in listed(bank, bank.client, both)] == [t.id for t in everything[1:-1]]


def test_a_timeline_shows_the_steps_with_their_times(bank: Bank) -> None:
    source, destination = bank.wallet(10), bank.wallet()
    [transfer] = bank.accept(bank.request(source, destination, 1))
    batch = new_id()
    seen = []
    for step, _, _ in STEPS:
        seen.append(entries(bank, transfer))
        bank.step(step, batch)
    seen.append(entries(bank, transfer))
    for shorter, longer in itertools.pairwise(seen):
        assert longer[: len(shorter)] == shorter, "entries do not change later"
        assert len(longer) == len(shorter) + 1
    shown = seen[-1]
    assert [entry.event for entry in shown] == [
        "accepted",
        "reserved",
        "deducted",
        "credited",
        "committed",
    ]
    assert [entry.at for entry in shown] == sorted(entry.at for entry in shown)
    assert shown[1].detail == f"batch {batch}"
    kept = bank.transfer(transfer)
    assert (shown[0].at, shown[-1].at) == (kept.created_at, kept.updated_at)


def test_a_timeline_shows_which_worker_did_what(bank: Bank) -> None:
    source, destination = bank.wallet(10), bank.wallet()
    batch = bank.reach("credited", bank.request(source, destination, 1))
    [transfer] = open_transfers(bank)
    with transaction(bank.engine) as connection:
        wallets.freeze(connection, destination.id)
    bank.step("commit", batch)
    bank.roll_back(batch)
    reason = "The destination wallet is frozen."
    failed, ended = entries(bank, transfer)[-2:]
    assert (failed.event, failed.worker, failed.detail) == ("failed", "test", reason)
    assert (ended.event, ended.detail) == ("rolled_back", reason)
    failure = bank.transfer(transfer).failure
    assert failure is not None
    assert (failure.code, failure.detail) == ("rolled_back", reason)


def entries(bank: Bank, transfer: UUID) -> list[TimelineEntry]:
    read = bank.transfer(transfer)
    with autocommit(bank.engine) as connection:
        return transfers.timeline(connection, read)


def open_transfers(bank: Bank) -> set[UUID]:
    return set(sql(bank, "SELECT transfer_id FROM unfinished"))
