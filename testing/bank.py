"""Test ledger: makes wallets, submits transfers, runs steps, and checks that the books balance.

It calls the functions of `ledger` on a real database, without an API, a broker or workers.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Engine, text

from ledger import acceptance, clients, steps, transfers, wallets
from ledger.acceptance import Acceptance, TransferRequest
from ledger.clients import Client
from ledger.errors import Invalid
from ledger.funds.door import Undecided
from ledger.ids import new_id
from ledger.postgres.database import autocommit, transaction
from ledger.states import STEPS
from ledger.wallets import Wallet, WalletKind
from testing.batch_driver import release_all

SCALES = {"USD": 2, "EUR": 2, "BTC": 8}


@dataclass
class Bank:
    """A ledger in a database. Needs no broker and no workers; a test may start them itself."""

    engine: Engine
    admin: Client = field(init=False)
    client: Client = field(init=False)
    external: dict[str, Wallet] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with transaction(self.engine) as connection:
            self.admin, _ = clients.create_client(
                connection, name="admin", scope="admin", rate_limit=None
            )
        self.client = self.new_client()

    def new_client(self) -> Client:
        with transaction(self.engine) as connection:
            client, _ = clients.create_client(
                connection, name="client", scope="client", rate_limit=None
            )
        return client

    def wallet(
        self,
        funds: int = 0,
        *,
        asset: str = "USD",
        kind: WalletKind = "customer",
        owner: Client | None = None,
    ) -> Wallet:
        """Make a wallet that holds this amount, in minor units."""
        with transaction(self.engine) as connection:
            wallet = wallets.create_wallet(
                connection,
                caller=self.admin,
                asset=asset,
                name=None,
                kind=kind,
                owner_id=(owner or self.client).id,
                metadata={},
            )
        if funds:
            self.fund(funds, wallet)
        return self.look(wallet)

    def fund(self, amount_minor: int, *into: Wallet) -> None:
        """Pay this amount, in minor units, from an external wallet into each of the wallets."""
        asset = into[0].asset
        if asset not in self.external:
            self.external[asset] = self.wallet(asset=asset, kind="external", owner=self.admin)
        source = self.external[asset]
        self.accept(*(self.request(source, to, amount_minor, client=self.admin) for to in into))
        self.settle()

    def request(
        self,
        source: Wallet | UUID,
        destination: Wallet | UUID,
        amount_minor: int,
        *,
        key: str | None = None,
        client: Client | None = None,
        asset: str = "USD",
        reference: str | None = None,
    ) -> TransferRequest:
        if isinstance(source, Wallet):
            asset = source.asset
        return TransferRequest(
            client=client or self.client,
            idempotency_key=key or str(uuid.uuid4()),
            source_id=source if isinstance(source, UUID) else source.id,
            destination_id=destination if isinstance(destination, UUID) else destination.id,
            asset=asset,
            scale=SCALES[asset],
            amount_minor=amount_minor,
            reference=reference,
        )

    def answers(self, *requests: TransferRequest) -> list[Acceptance | Invalid]:
        with autocommit(self.engine) as connection:
            answers = acceptance.accept(connection, list(requests))
        return [each for each in answers if not isinstance(each, Undecided)]

    def accept(self, *requests: TransferRequest) -> list[UUID]:
        """Submit requests that must be recorded. Returns: the transfers' ids."""
        ids = []
        for answer in self.answers(*requests):
            assert isinstance(answer, Acceptance), answer
            ids.append(answer.transfer.id)
        return ids

    def step(self, name: str, batch_id: UUID) -> steps.Progress:
        with transaction(self.engine) as connection:
            return steps.run_step(connection, name, batch_id, worker="test")  # type: ignore[arg-type]

    def roll_back(self, batch_id: UUID) -> int:
        with transaction(self.engine) as connection:
            return steps.roll_back(connection, batch_id)

    def reach(self, state: str, *requests: TransferRequest) -> UUID:
        """Accept the requests and run their batch until it is in `state`. Returns: the batch."""
        self.accept(*requests)
        batch = new_id()
        for step, _, end in itertools.takewhile(lambda row: row[1] != state, STEPS):
            self.step(step, batch)
            assert end
        return batch

    def settle(self) -> None:
        """Run whole chains until nothing is left to claim."""
        while True:
            batch = new_id()
            done = [self.step(step, batch) for step, _, _ in STEPS]
            more = [each.more or release_all(self.engine, each.awaited) for each in done]
            ended = self.roll_back(batch)
            if not ended and not any(more):
                return

    def state(self, transfer_id: UUID) -> str:
        return self.transfer(transfer_id).state

    def states(self, transfer_ids: list[UUID]) -> set[str]:
        """Return the states of these transfers; `unknown` for one that the ledger does not have."""
        with autocommit(self.engine) as connection:
            found = transfers.find_transfers(connection, transfer_ids)
        return {found[id].state if id in found else "unknown" for id in transfer_ids}

    def transfer(self, transfer_id: UUID) -> transfers.Transfer:
        with autocommit(self.engine) as connection:
            return transfers.get_transfer(connection, transfer_id, caller=self.admin)

    def timeline(self, transfer_id: UUID) -> list[str]:
        transfer = self.transfer(transfer_id)
        with autocommit(self.engine) as connection:
            return [entry.event for entry in transfers.timeline(connection, transfer)]

    def look(self, wallet: Wallet) -> Wallet:
        with autocommit(self.engine) as connection:
            return wallets.get_wallet(connection, wallet.id, caller=self.admin)

    def unfinished(self) -> int:
        with autocommit(self.engine) as connection:
            count: int = connection.execute(text("SELECT count(*) FROM unfinished")).scalar_one()
        return count

    def audit(self) -> None:
        """Check promises P2 to P5 on every row, on one snapshot: it is safe while money moves."""
        with autocommit(self.engine) as connection:
            wrong = connection.execute(text(AUDIT)).all()
        assert not wrong, wrong


AUDIT = """
WITH moves AS (
    SELECT debit_wallet_id AS wallet_id, -amount AS amount FROM postings
    UNION ALL SELECT credit_wallet_id, amount FROM postings
), booked AS (
    SELECT wallet_id, sum(amount) AS balance FROM moves GROUP BY wallet_id
), held AS (
    SELECT source_id AS wallet_id, sum(amount) AS reserved FROM unfinished
    WHERE state = 'reserved' GROUP BY source_id
), coming AS (
    SELECT destination_id AS wallet_id, sum(amount) AS incoming FROM unfinished
    WHERE state = 'credited' GROUP BY destination_id
), transit AS (
    SELECT transit_id AS wallet_id, sum(amount) AS balance FROM unfinished
    WHERE state = 'deducted' GROUP BY transit_id
), legs AS (
    SELECT t.id, coalesce(o.state, u.state) AS state, o.deducted_at, o.credited_at,
           (u.transfer_id IS NULL) <> (o.transfer_id IS NULL) AS in_one_place,
           coalesce((SELECT string_agg(leg, ',' ORDER BY seq) FROM postings
                     WHERE transfer_id = t.id), '') AS legs
    FROM transfers t
    LEFT JOIN unfinished u ON u.transfer_id = t.id
    LEFT JOIN outcomes o ON o.transfer_id = t.id
)
SELECT 'sum is not zero' AS wrong, asset AS what, sum(balance)::text AS found
FROM wallets GROUP BY asset HAVING sum(balance) <> 0
UNION ALL
SELECT 'balance is not what was posted', w.id::text, w.balance || ' for ' || coalesce(b.balance, 0)
FROM wallets w LEFT JOIN booked b ON b.wallet_id = w.id WHERE w.balance <> coalesce(b.balance, 0)
UNION ALL
SELECT 'reserved is not what is held', w.id::text, w.reserved::text
FROM wallets w LEFT JOIN held h ON h.wallet_id = w.id WHERE w.reserved <> coalesce(h.reserved, 0)
UNION ALL
SELECT 'incoming is not what is coming', w.id::text, w.incoming::text
FROM wallets w LEFT JOIN coming c ON c.wallet_id = w.id WHERE w.incoming <> coalesce(c.incoming, 0)
UNION ALL
SELECT 'transit does not hold what is between wallets', w.id::text, w.balance::text
FROM wallets w LEFT JOIN transit t ON t.wallet_id = w.id
WHERE w.kind = 'transit' AND w.balance <> coalesce(t.balance, 0)
UNION ALL
SELECT 'overdraft', id::text, (balance - reserved - incoming)::text
FROM wallets WHERE kind <> 'external' AND balance - reserved - incoming < 0
UNION ALL
SELECT 'postings do not fit the state', id::text, state || ': ' || legs
FROM legs WHERE legs <> CASE
    WHEN state IN ('accepted', 'rejected', 'reserved') THEN ''
    WHEN state = 'deducted' THEN 'deduct'
    WHEN state IN ('credited', 'committed') THEN 'deduct,credit'
    WHEN credited_at IS NOT NULL THEN 'deduct,credit,uncredit,refund'
    WHEN deducted_at IS NOT NULL THEN 'deduct,refund'
    ELSE '' END
UNION ALL
SELECT 'neither or both of unfinished and ended', id::text, state FROM legs WHERE NOT in_one_place
UNION ALL
SELECT 'balance after a posting does not follow from the one before', wallet_id::text, seq::text
FROM (
    SELECT wallet_id, seq, after, coalesce(lag(after) OVER (PARTITION BY wallet_id ORDER BY seq), 0)
           + change AS expected
    FROM (SELECT debit_wallet_id AS wallet_id, seq, debit_balance_after AS after,
                 -amount AS change FROM postings
          UNION ALL SELECT credit_wallet_id, seq, credit_balance_after, amount FROM postings) lines
) chain WHERE after <> expected
LIMIT 20
"""
