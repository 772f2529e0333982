"""The ledger against a model: steps in any order, often or never, change no transfer's end."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from ledger import steps, wallets
from ledger.acceptance import Acceptance
from ledger.clients import Client, create_client
from ledger.errors import IdempotencyKeyReused
from ledger.ids import new_id
from ledger.postgres.database import transaction
from ledger.states import STEPS
from testing.bank import Bank
from testing.batch_driver import BatchDriver
from testing.storm.model import Content, Model

WALLETS = range(4)
"""The first is external."""
SCANS = 20
"""So many recovery scans end everything that can be accepted here."""
STEP_NAMES = [name for name, _, _ in STEPS]
items = st.tuples(
    st.integers(0, 1),  # the client
    st.integers(0, 7),  # the key
    st.sampled_from(WALLETS),
    st.sampled_from(WALLETS),
    st.sampled_from((1, 2, 5, 40)),
).filter(lambda item: item[2] != item[3])


class LedgerAndModel(RuleBasedStateMachine):
    """Two clients, four wallets, and workers that do their steps whenever it pleases Hypothesis."""

    bank: Bank

    def __init__(self) -> None:
        super().__init__()
        kinds = ("external", "customer", "customer", "customer")
        self.wallets = [self.bank.wallet(kind=kind) for kind in kinds]  # type: ignore[arg-type]
        with transaction(self.bank.engine) as connection:
            another = create_client(connection, name="another", scope="admin", rate_limit=None)[0]
        self.clients: list[Client] = [self.bank.admin, another]
        self.model = Model(external={str(self.wallets[0].id)})
        self.prefix = str(new_id())
        self.ids: dict[tuple[str, str], UUID] = {}
        self.batches = [new_id() for _ in range(3)]
        self.poor: set[int] = set()
        """Sources of unfinished transfers for which the money is short. Money that is sent to one
        of these later may arrive in time, or not; the model does not say which."""

    @rule(batch=st.lists(items, min_size=1, max_size=5))
    def accept(self, batch: list[tuple[int, int, int, int, int]]) -> None:
        requests, expected = [], []
        for client, number, source, destination, amount_minor in batch:
            if destination in self.poor:
                break
            key = f"{self.prefix}/{number}"
            sides = self.wallets[source], self.wallets[destination]
            requests.append(
                self.bank.request(*sides, amount_minor, key=key, client=self.clients[client])
            )
            content = Content(str(sides[0].id), str(sides[1].id), amount_minor)
            named = (str(self.clients[client].id), key)
            expected.append((named, self.model.accept(named, content)))
            if self.model.ends[named] == "insufficient_funds":
                self.poor.add(source)
        for answer, (named, use) in zip(self.bank.answers(*requests), expected, strict=True):
            if use == "other":
                assert isinstance(answer, IdempotencyKeyReused)
            else:
                assert isinstance(answer, Acceptance)
                assert answer.replayed == (use == "repeat")
                assert self.ids.setdefault(named, answer.transfer.id) == answer.transfer.id

    @rule(name=st.sampled_from(STEP_NAMES), batch=st.integers(0, 2))
    def step(self, name: str, batch: int) -> None:
        """A message: late, doubled, or in the wrong order."""
        self.bank.step(name, self.batches[batch])

    @rule(name=st.sampled_from(STEP_NAMES), batch=st.integers(0, 2))
    def step_that_dies(self, name: str, batch: int) -> None:
        """A worker that is killed before the commit."""
        with self.bank.engine.connect() as connection:
            steps.run_step(connection, name, self.batches[batch], worker="test")  # type: ignore[arg-type]
            connection.rollback()

    @rule(batch=st.integers(0, 2))
    def roll_back(self, batch: int) -> None:
        """A message of an errback: nothing has failed, so it does nothing."""
        assert self.bank.roll_back(self.batches[batch]) == 0

    @rule(wallet=st.sampled_from(WALLETS[1:]))
    @precondition(lambda self: not self.bank.unfinished())
    def freeze_or_unfreeze(self, wallet: int) -> None:
        id = self.wallets[wallet].id
        change = wallets.unfreeze if str(id) in self.model.frozen else wallets.freeze
        with transaction(self.bank.engine) as connection:
            change(connection, id)
        self.model.frozen ^= {str(id)}

    @rule()
    def settle(self) -> None:
        """Scan and kick until everything has ended: as in the model."""
        driver = BatchDriver(self.bank.engine)
        for _ in range(SCANS):
            if not self.bank.unfinished():
                break
            driver.redrive()
            driver.drive()
        ends: dict[Any, str] = {}
        for named, id in self.ids.items():
            transfer = self.bank.transfer(id)
            ends[named] = transfer.failure.code if transfer.failure else transfer.state
        assert ends == self.model.ends
        self.poor.clear()
        for wallet in self.wallets:
            found = self.bank.look(wallet)
            assert (found.balance, found.reserved, found.incoming) == (
                self.model.balances[str(wallet.id)],
                0,
                0,
            )

    def teardown(self) -> None:
        self.settle()
        self.bank.audit()


def test_every_transfer_ends_as_the_model_says(bank: Bank) -> None:
    class Machine(LedgerAndModel):
        pass

    Machine.bank = bank
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=15,
            deadline=None,
            phases=[Phase.generate],  # what it finds is printed; to shrink it takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
