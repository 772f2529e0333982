"""Books that a test may spoil as only a hand can: a bank with a bit of everything, and scans."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url

from ledger import reconciliations, reconciling, wallets
from ledger.database import autocommit, transaction
from ledger.findings import Finding
from ledger.ids import new_id
from ledger.reconciliations import Reconciliation, Trigger
from ledger.wallets import Wallet
from stack.servers import Servers
from tests.bank import Bank


@dataclass
class Books:
    """A bank whose wallets and transfers a test knows by name, with a hand that may do anything."""

    bank: Bank
    superuser: Engine
    ids: dict[str, UUID] = field(default_factory=dict)
    """Of everything that has a name here."""

    def __post_init__(self) -> None:
        bank = self.bank
        source, destination = bank.wallet(100_00), bank.wallet(50_00)
        others = bank.wallet(70_00), bank.wallet()
        self.ids |= {
            "source": source.id,
            "destination": destination.id,
            "other": others[0].id,
            "another": others[1].id,
            "external": bank.external["USD"].id,
        }
        [self.ids["settled"]] = bank.accept(bank.request(*others, 20_00))
        [self.ids["committed"]] = bank.accept(bank.request(source, destination, 10_00))
        bank.settle()
        self._roll_one_back(source)
        [self.ids["rejected"]] = bank.accept(bank.request(source, destination, 1_000_00))
        amounts = {"credited": 1_00, "deducted": 2_00, "reserved": 3_00, "accepted": 4_00}
        for state, amount in amounts.items():
            [self.ids[state]] = bank.accept(bank.request(source, destination, amount))
            if state != "accepted":
                self.run_up_to(state)
        with autocommit(bank.engine) as connection:
            transit = text("SELECT id FROM wallets WHERE kind = 'transit' AND asset = 'USD'")
            self.ids["transit"] = UUID(str(connection.execute(transit).scalar_one()))
        bank.audit()

    def run_up_to(self, state: str) -> None:
        """Run the chain of what was accepted until it is in this state."""
        batch = new_id()
        for step, end in (("reserve", "reserved"), ("deduct", "deducted"), ("credit", "credited")):
            self.bank.step(step, batch)
            if end == state:
                return

    def _roll_one_back(self, source: Wallet) -> None:
        """One that had been credited: its destination was frozen too late."""
        bank, frozen = self.bank, self.bank.wallet()
        [self.ids["rolled_back"]] = bank.accept(bank.request(source, frozen, 5_00))
        batch = new_id()
        for step in ("reserve", "deduct", "credit"):
            bank.step(step, batch)
        with transaction(bank.engine) as connection:
            wallets.freeze(connection, frozen.id)
        bank.step("commit", batch)
        bank.roll_back(batch)
        with transaction(bank.engine) as connection:
            wallets.unfreeze(connection, frozen.id)
        self.ids["back"] = frozen.id

    def spoil(self, *statements: str) -> None:
        """Run SQL that no trigger and no foreign key keeps from anything."""
        with self.superuser.begin() as connection:
            connection.execute(text("SET session_replication_role = replica"))
            for statement in statements:
                names = {name: id for name, id in self.ids.items() if f":{name}" in statement}
                connection.execute(text(statement), names)

    def begin(self, trigger: Trigger = "operator") -> Reconciliation:
        with transaction(self.bank.engine) as connection:
            return reconciliations.begin(connection, trigger)[0]

    def go_on(self, *, works_for_s: float = 60.0, every_s: float = 3600.0) -> list[Finding]:
        """Go on with the run that is under way. Returns: what was found meanwhile."""
        found: list[Finding] = []
        reconciling.work(self.bank.engine, every_s=every_s, works_for_s=works_for_s, found=found)
        return found

    def scan(self, trigger: Trigger = "operator") -> list[Finding]:
        """A whole run. Returns: what it found."""
        run = self.begin(trigger)
        found = self.go_on()
        assert self.run(run.id).state == "finished"
        assert self.recorded(run.id) == found
        return found

    def run(self, run_id: UUID) -> Reconciliation:
        with transaction(self.bank.engine) as connection:
            return reconciliations.get(connection, run_id)

    def latest(self) -> Reconciliation:
        with transaction(self.bank.engine) as connection:
            run = reconciliations.latest(connection)
        assert run
        return run

    def recorded(self, run_id: UUID) -> list[Finding]:
        with transaction(self.bank.engine) as connection:
            return reconciliations.findings_of(connection, run_id)

    def named(self, finding: Finding) -> tuple[str, str, str]:
        """(kind, what it is about by its name here, action)."""
        names = {id: name for name, id in self.ids.items()}
        about = finding.wallet_id or finding.transfer_id
        return finding.kind, names[about] if about else str(finding.asset), finding.action

    def frozen(self) -> set[str]:
        """The names of the wallets that are frozen."""
        with autocommit(self.bank.engine) as connection:
            ids = set(
                connection.scalars(text("SELECT id::text FROM wallets WHERE status = 'frozen'"))
            )
        return {name for name, id in self.ids.items() if str(id) in ids}

    def row(self, wallet: str) -> str:
        """Everything of a wallet."""
        with autocommit(self.bank.engine) as connection:
            query = text("SELECT wallets::text FROM wallets WHERE id = :id")
            return str(connection.execute(query, {"id": self.ids[wallet]}).scalar_one())

    @contextmanager
    def held(self, wallet: str) -> Iterator[Connection]:
        """Hold a wallet's lock as a step does that does not go on."""
        with transaction(self.bank.engine) as connection:
            hold = text("SELECT FROM wallets WHERE id = :id FOR NO KEY UPDATE")
            connection.execute(hold, {"id": self.ids[wallet]})
            yield connection


@pytest.fixture
def books(bank: Bank, own_database_url: str, servers: Servers) -> Iterator[Books]:
    # The server's own, of which `servers` knows the password and this address the port.
    password = make_url(servers.postgres().superuser_url).password
    url = make_url(own_database_url).set(
        drivername="postgresql+psycopg2", username="postgres", password=password
    )
    superuser = create_engine(url)
    yield Books(bank, superuser)
    superuser.dispose()
