"""Corruptible ledger: a bank with transfers in every state, which tests corrupt and scan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url

from ledger import wallets
from ledger.ids import new_id
from ledger.postgres.database import autocommit, transaction
from ledger.reconciliation import runs
from ledger.reconciliation import scan as scan_module
from ledger.reconciliation.findings import Finding
from ledger.reconciliation.runs import Reconciliation, Trigger
from ledger.wallets import Wallet
from stack.servers.own import Servers
from testing.bank import Bank
from testing.servers.databases import copied_database, engine_on


@dataclass
class CorruptibleLedger:
    """A ledger whose wallets and transfers have names, and a superuser that may corrupt it."""

    bank: Bank
    superuser: Engine
    ids: dict[str, UUID]
    """The ids of the wallets and transfers, by name."""
    url: str = field(repr=False)

    def run_up_to(self, state: str) -> None:
        """Run the chain of the accepted transfers until they are in this state."""
        run_up_to(self.bank, state)

    def corrupt(self, *statements: str) -> None:
        """Run SQL with all triggers and foreign keys switched off."""
        with self.superuser.begin() as connection:
            connection.execute(text("SET session_replication_role = replica"))
            for statement in statements:
                names = {name: id for name, id in self.ids.items() if f":{name}" in statement}
                connection.execute(text(statement), names)

    def begin(self, trigger: Trigger = "operator") -> Reconciliation:
        with transaction(self.bank.engine) as connection:
            return runs.begin(connection, trigger)[0]

    def continue_run(self, *, works_for_s: float = 60.0, every_s: float = 3600.0) -> list[Finding]:
        """Continue the run that is under way. Returns: what this call found."""
        found: list[Finding] = []
        scan_module.work(self.bank.engine, every_s=every_s, works_for_s=works_for_s, found=found)
        return found

    def scan(self, trigger: Trigger = "operator") -> list[Finding]:
        """Do a whole run. Returns: what it found."""
        run = self.begin(trigger)
        found = self.continue_run()
        assert self.run(run.id).state == "finished"
        assert self.recorded(run.id) == found
        return found

    def run(self, run_id: UUID) -> Reconciliation:
        with transaction(self.bank.engine) as connection:
            return runs.get(connection, run_id)

    def latest(self) -> Reconciliation:
        with transaction(self.bank.engine) as connection:
            run = runs.latest(connection)
        assert run
        return run

    def recorded(self, run_id: UUID) -> list[Finding]:
        with transaction(self.bank.engine) as connection:
            return runs.findings_of(connection, run_id)

    def named(self, finding: Finding) -> tuple[str, str, str]:
        """Return (kind, the name of the wallet, transfer or asset, action)."""
        names = {id: name for name, id in self.ids.items()}
        about = finding.wallet_id or finding.transfer_id
        return finding.kind, names[about] if about else str(finding.asset), finding.action

    def frozen(self) -> set[str]:
        """Return the names of the frozen wallets."""
        with autocommit(self.bank.engine) as connection:
            ids = set(
                connection.scalars(text("SELECT id::text FROM wallets WHERE status = 'frozen'"))
            )
        return {name for name, id in self.ids.items() if str(id) in ids}

    def row(self, wallet: str) -> str:
        """Return the whole row of a wallet as text."""
        with autocommit(self.bank.engine) as connection:
            query = text("SELECT wallets::text FROM wallets WHERE id = :id")
            return str(connection.execute(query, {"id": self.ids[wallet]}).scalar_one())

    def bank_sum(self) -> int:
        """Return the sum of the balances of all USD wallets, in minor units."""
        with autocommit(self.bank.engine) as connection:
            query = text("SELECT sum(balance) FROM wallets WHERE asset = 'USD'")
            return int(connection.execute(query).scalar_one())

    @contextmanager
    def held(self, wallet: str) -> Iterator[Connection]:
        """Hold a wallet's row lock, as a step does that does not finish."""
        with transaction(self.bank.engine) as connection:
            hold = text("SELECT FROM wallets WHERE id = :id FOR NO KEY UPDATE")
            connection.execute(hold, {"id": self.ids[wallet]})
            yield connection


def run_up_to(bank: Bank, state: str) -> UUID:
    """Run the chain of the accepted transfers until they are in this state. Returns: the batch."""
    batch = new_id()
    for step, end in (("reserve", "reserved"), ("deduct", "deducted"), ("credit", "credited")):
        bank.step(step, batch)
        if end == state:
            break
    return batch


def populate(bank: Bank) -> dict[str, UUID]:
    """Make some wallets, and a transfer in each state. Returns: their ids, by name."""
    source, destination = bank.wallet(100_00), bank.wallet(50_00)
    other, another, back = bank.wallet(70_00), bank.wallet(), bank.wallet()
    ids = {"source": source.id, "destination": destination.id, "back": back.id}
    ids |= {"other": other.id, "another": another.id, "external": bank.external["USD"].id}
    [ids["settled"]] = bank.accept(bank.request(other, another, 20_00))
    [ids["committed"]] = bank.accept(bank.request(source, destination, 10_00))
    bank.settle()
    [ids["rolled_back"]] = bank.accept(bank.request(source, back, 5_00))
    _roll_back(bank, frozen=back)
    [ids["rejected"]] = bank.accept(bank.request(source, destination, 1_000_00))
    amounts = {"credited": 1_00, "deducted": 2_00, "reserved": 3_00, "accepted": 4_00}
    for state, amount in amounts.items():
        [ids[state]] = bank.accept(bank.request(source, destination, amount))
        if state != "accepted":
            run_up_to(bank, state)
    with autocommit(bank.engine) as connection:
        transit = text("SELECT id FROM wallets WHERE kind = 'transit' AND asset = 'USD'")
        ids["transit"] = UUID(str(connection.execute(transit).scalar_one()))
    bank.audit()
    return ids


def _roll_back(bank: Bank, *, frozen: Wallet) -> None:
    """Make the accepted transfers fail at commit by freezing their destination before it."""
    batch = run_up_to(bank, "credited")
    with transaction(bank.engine) as connection:
        wallets.freeze(connection, frozen.id)
    bank.step("commit", batch)
    bank.roll_back(batch)
    with transaction(bank.engine) as connection:
        wallets.unfreeze(connection, frozen.id)


@dataclass(frozen=True)
class LedgerTemplate:
    """A ledger that was filled once; each test gets a copy."""

    template: str
    ids: dict[str, UUID]
    external: Wallet


@pytest.fixture(scope="session")
def ledger_template(template_url: str) -> Iterator[LedgerTemplate]:
    with copied_database(template_url) as url:
        with engine_on(url) as engine:
            bank = Bank(engine)
            ids = populate(bank)
        template = make_url(url).database
        assert template
        yield LedgerTemplate(template, ids, bank.external["USD"])


@pytest.fixture
def ledger(
    template_url: str, ledger_template: LedgerTemplate, servers: Servers
) -> Iterator[CorruptibleLedger]:
    # The superuser: `servers` knows its password, and the URL has the port.
    password = make_url(servers.postgres().superuser_url).password
    with (
        copied_database(template_url, template=ledger_template.template) as url,
        engine_on(url) as engine,
    ):
        superuser = create_engine(
            make_url(url).set(
                drivername="postgresql+psycopg2", username="postgres", password=password
            )
        )
        bank = Bank(engine)
        bank.external["USD"] = ledger_template.external
        yield CorruptibleLedger(bank, superuser, dict(ledger_template.ids), url)
        superuser.dispose()
