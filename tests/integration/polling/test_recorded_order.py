"""Order of recording: a poller who goes on from its place misses nothing and sees nothing twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from ledger import acceptance
from ledger.acceptance import TransferRequest
from ledger.clients import Client
from ledger.errors import Misconfigured, Unaccepted, Unavailable
from ledger.polling.eras import (
    ERA_BITS,
    LAST_ERA,
    acceptances_left,
    begin_era_if_accepted,
    recorded_order,
)
from ledger.polling.recorded_order import READ_AT_MOST, START, Place, list_recorded
from ledger.postgres.database import autocommit, transaction
from ledger.transfers import TransferFilter
from migrations.__main__ import upgrade
from testing.bank import Bank
from testing.identity import IDENTITY
from testing.servers.databases import as_owner, owner_engine
from testing.worker_processes import eventually

EVERYTHING = TransferFilter()


class Poller:
    """Reads the list as a client, and goes on from where it was."""

    def __init__(
        self,
        bank: Bank,
        caller: Client,
        *,
        narrow: TransferFilter = EVERYTHING,
        limit: int = 200,
        place: Place = START,
        read_at_most: int = READ_AT_MOST,
    ) -> None:
        self.bank, self.caller, self.narrow, self.limit = bank, caller, narrow, limit
        self.place, self.read_at_most = place, read_at_most
        self.seen: list[UUID] = []

    def poll(self) -> list[UUID]:
        """Read one page. Returns: what is new in it."""
        with autocommit(self.bank.engine) as connection:
            page, place = list_recorded(
                connection,
                caller=self.caller,
                limit=self.limit,
                after=self.place,
                narrow=self.narrow,
                read_at_most=self.read_at_most,
            )
        assert len(page) <= self.limit
        assert (place.order, place.id) >= (self.place.order, self.place.id)
        self.place = place
        self.seen += [transfer.id for transfer in page]
        return [transfer.id for transfer in page]

    def poll_to_the_end(self) -> list[UUID]:
        """Read until its place stays the same. Returns: all that it has seen so far."""
        before = None
        while self.place != before:
            before = self.place
            self.poll()
        return self.seen

    def sees(self, ids: list[UUID]) -> None:
        """Assert that it comes to see exactly these, in this order of pages, each once.

        Other databases of the cluster may have transactions open, for a moment.
        """
        eventually(lambda: len(self.poll_to_the_end()) >= len(ids))
        assert sorted(self.seen) == sorted(ids)


def requests(bank: Bank, count: int, client: Client | None = None) -> list[TransferRequest]:
    owner = client or bank.client
    source, destination = bank.wallet(owner=owner), bank.wallet(owner=owner)
    return [bank.request(source, destination, 1, client=owner) for _ in range(count)]


def test_what_becomes_visible_late_is_not_missed(bank: Bank) -> None:
    late, early = requests(bank, 3), requests(bank, 2)
    poller = Poller(bank, bank.client)
    with transaction(bank.engine) as slow:
        answers = acceptance.accept(slow, late)
        early_ids = bank.accept(*early)
        # Their times are the other way round, so the newest time is no place to go on from.
        assert poller.poll_to_the_end() == []
    late_ids = [each.transfer.id for each in answers if isinstance(each, acceptance.Acceptance)]
    poller.sees([*late_ids, *early_ids])
    assert poller.poll() == []


def test_a_transaction_that_is_rolled_back_holds_nothing_up(bank: Bank) -> None:
    poller = Poller(bank, bank.client)
    failing = bank.engine.connect()
    acceptance.accept(failing, requests(bank, 3))
    failing.close()  # which rolls back
    poller.sees(bank.accept(*requests(bank, 2)))


@pytest.mark.parametrize("limit", [1, 7, 200])
def test_pages_follow_each_other_without_gaps_and_repeats(bank: Bank, limit: int) -> None:
    groups = [bank.accept(*requests(bank, size)) for size in (1, 20, 3, 1, 9)]
    poller = Poller(bank, bank.client, limit=limit)
    poller.sees([id for group in groups for id in group])
    # One transaction after the other; within one, in the order of the ids.
    assert poller.seen == [id for group in groups for id in sorted(group)]


def test_a_client_sees_what_touches_its_wallets_and_an_admin_everything(bank: Bank) -> None:
    other = bank.new_client()
    mine, theirs = bank.wallet(), bank.wallet(owner=other)
    own = bank.accept(bank.request(mine, bank.wallet(), 1))
    shared = bank.accept(bank.request(mine, theirs, 1))
    foreign = bank.accept(*requests(bank, 2, other))
    Poller(bank, bank.client).sees([*own, *shared])
    Poller(bank, other).sees([*shared, *foreign])
    Poller(bank, bank.new_client()).sees([])
    Poller(bank, bank.admin).sees([*own, *shared, *foreign])
    Poller(bank, bank.client, narrow=TransferFilter(wallet_id=theirs.id)).sees(shared)
    at = bank.transfer(own[0]).created_at
    newer = TransferFilter(created_after=at, created_before=at + timedelta(days=1))
    Poller(bank, bank.client, narrow=newer).sees(shared)


def test_one_transfer_is_found_at_once_behind_any_number_of_others(bank: Bank) -> None:
    bank.accept(*requests(bank, 35, bank.new_client()))
    [wanted] = bank.accept(*requests(bank, 1))
    Poller(bank, bank.client).sees([wanted])  # no other transaction is open any more
    poller = Poller(bank, bank.client, narrow=TransferFilter(id=wanted), read_at_most=10)
    assert poller.poll() == [wanted]
    assert poller.poll() == []


def test_one_request_reads_a_bounded_number_of_rows_and_goes_on_after_them(bank: Bank) -> None:
    bank.accept(*requests(bank, 35, bank.new_client()))
    mine = bank.accept(*requests(bank, 2))
    poller = Poller(bank, bank.client, read_at_most=10)
    empty = 0
    while not poller.poll():
        empty += 1
        assert empty < 100
    assert poller.seen == sorted(mine)
    assert empty >= 3


@pytest.fixture
def older(bank: Bank) -> list[UUID]:
    """Make transfers as they are in a database of the version before."""
    default = "ALTER TABLE transfers ALTER COLUMN recorded_order SET DEFAULT "
    query = "SELECT column_default FROM information_schema.columns WHERE column_name = "
    with as_owner(bank.engine) as connection:
        usual = connection.scalar(text(query + "'recorded_order'"))
        connection.execute(text(default + "0"))
    for _ in range(5):
        bank.accept(*requests(bank, 2))
    with as_owner(bank.engine) as connection:
        connection.execute(text(default + str(usual)))
        bound = "UPDATE recording_eras SET earlier_until = (SELECT max(created_at) FROM transfers)"
        connection.execute(text(bound))
        ids = connection.scalars(text("SELECT id FROM transfers ORDER BY created_at, id"))
        return list(ids)


@pytest.mark.parametrize(("limit", "read_at_most"), [(1, 1000), (3, 4), (200, 1000), (200, 3)])
def test_transfers_older_than_the_order_come_first_in_the_order_of_their_times(
    bank: Bank, older: list[UUID], limit: int, read_at_most: int
) -> None:
    newer = sorted(bank.accept(*requests(bank, 4)))
    poller = Poller(bank, bank.client, limit=limit, read_at_most=read_at_most)
    poller.sees([*older, *newer])
    assert poller.seen == [*older, *newer]


def test_after_a_restore_a_place_goes_on_with_what_is_new(bank: Bank) -> None:
    before = bank.accept(*requests(bank, 3))
    poller = Poller(bank, bank.client)
    poller.sees(before)
    with as_owner(bank.engine) as connection:
        assert not begin_era_if_accepted(connection, is_accepted=False)
        connection.execute(text("UPDATE recording_eras SET system = 'the cluster of the dump'"))
    with pytest.raises(Unaccepted):
        poller.poll()
    with as_owner(bank.engine) as connection, pytest.raises(Unaccepted):
        begin_era_if_accepted(connection, is_accepted=False)
    with as_owner(bank.engine) as connection:
        assert begin_era_if_accepted(connection, is_accepted=True)
        assert not begin_era_if_accepted(connection, is_accepted=False)
    after = bank.accept(*requests(bank, 2))
    poller.sees([*before, *after])
    Poller(bank, bank.client).sees([*before, *after])
    with autocommit(bank.engine) as connection:
        orders = connection.scalars(text("SELECT recorded_order FROM transfers"))
        eras = sorted({order >> ERA_BITS for order in orders})
        assert eras[0] == 1
        assert eras[1] > 10, "room for the failovers of another server"


def test_a_server_that_goes_back_to_an_older_timeline_is_accepted_by_an_operator_alone(
    bank: Bank,
) -> None:
    with as_owner(bank.engine) as connection:
        connection.execute(text("UPDATE recording_eras SET timeline = '000000FF'"))
    with as_owner(bank.engine) as connection, pytest.raises(Unaccepted):
        begin_era_if_accepted(connection, is_accepted=False)
    with as_owner(bank.engine) as connection:
        assert begin_era_if_accepted(connection, is_accepted=True)
        assert not begin_era_if_accepted(connection, is_accepted=False)


def test_acceptances_run_out_with_a_warning_and_leave_eras_for_failovers(bank: Bank) -> None:
    said: list[str] = []
    with as_owner(bank.engine) as connection:
        times = acceptances_left(connection)
        for _ in range(times - 3):
            begin_era_if_accepted(connection, is_accepted=True)
    with owner_engine(bank.engine) as owner:
        upgrade(
            owner,
            installation_id=IDENTITY["INSTALLATION_ID"],
            admin_api_key=None,
            accepts_server=True,
            say=said.append,
        )
    assert [line for line in said if "only 2 more times" in line]
    with as_owner(bank.engine) as connection:
        for _ in range(2):
            begin_era_if_accepted(connection, is_accepted=True)
        with pytest.raises(Misconfigured, match="too often"):
            begin_era_if_accepted(connection, is_accepted=True)
        era = connection.scalar(text("SELECT max(era) FROM recording_eras"))
    assert times > 100
    assert LAST_ERA - era >= 256


def test_a_poller_is_told_when_the_numbers_have_run_out(bank: Bank) -> None:
    """After so many failovers PostgreSQL's number would become negative without an error."""
    poller = Poller(bank, bank.client)
    poller.sees(bank.accept(*requests(bank, 1)))
    beyond = recorded_order(era=LAST_ERA + 1, timeline=1)
    with as_owner(bank.engine) as connection:
        connection.execute(
            text("UPDATE recording_eras SET era = :era, timeline = '00000000'"), {"era": LAST_ERA}
        )
        connection.execute(
            text(f"ALTER TABLE transfers ALTER COLUMN recorded_order SET DEFAULT {beyond}")
        )
    bank.accept(*requests(bank, 1))
    with pytest.raises(Misconfigured, match="no numbers left"):
        poller.poll()


def test_a_server_is_not_accepted_while_a_table_is_locked_for_long(bank: Bank) -> None:
    with transaction(bank.engine) as dumping, owner_engine(bank.engine) as owner:
        dumping.execute(text("LOCK TABLE transfers IN ACCESS SHARE MODE"))
        with pytest.raises(Unavailable), transaction(owner) as connection:
            begin_era_if_accepted(connection, is_accepted=True)


def test_a_poller_beside_many_writers_misses_nothing(bank: Bank) -> None:
    sizes = [1, 1, 1, 400, 1, 1, 1000, 1] * 4
    poller = Poller(bank, bank.client)
    source, destination = bank.wallet(), bank.wallet()
    given = [[bank.request(source, destination, 1) for _ in range(size)] for size in sizes]
    with ThreadPoolExecutor(4) as threads:
        writing = [threads.submit(bank.accept, *group) for group in given]
        while not all(each.done() for each in writing):
            poller.poll()
    ids = [id for each in writing for id in each.result()]
    poller.sees(ids)
