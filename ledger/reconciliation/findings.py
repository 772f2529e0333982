"""What the consistency scan does about what it finds, and the record of that.

Guarantees that each finding is written in the transaction that acts on it, and once: what was
told and still stands is neither told nor acted on again, so a wallet that an operator has
unfrozen stays unfrozen. Never touches a posting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Connection, Engine, Uuid, bindparam, insert, text, update

from ledger.errors import Poisoned, Superseded
from ledger.postgres import schema
from ledger.postgres.bulk_rows import array_literal
from ledger.postgres.database import savepoint, transaction
from ledger.reconciliation.wallet_scan import WalletCheck, look_at

Action = Literal["rebuilt", "frozen", "alarmed"]

MAX_FINDINGS: Final = 1_000
"""The most that one run records and acts on. What is found beyond that is only counted: then
something is wrong that no scan should mend, and the next run takes the next ones."""

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was wrong, and what was done about it."""

    kind: str
    wallet_id: UUID | None
    asset: str | None
    transfer_id: UUID | None
    detail: str
    action: Action
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """Something in the journal that contradicts the ledger's rules."""

    kind: str
    detail: str
    wallet_ids: Sequence[UUID] = ()
    """All wallets concerned; those of customers are frozen."""
    is_about_amounts: bool = True
    """Whether it makes doubtful what the postings of these wallets add up to."""
    wallet_id: UUID | None = None
    asset: str | None = None
    transfer_id: UUID | None = None
    leg: str | None = None

    @property
    def key(self) -> str:
        """What makes two sightings the same wrong."""
        parts = (self.kind, self.wallet_id, self.asset, self.transfer_id, self.leg)
        return ":".join(str(part) for part in parts if part is not None)


Still = Callable[[Connection, Discrepancy], bool]


def _always(_connection: Connection, _wrong: Discrepancy) -> bool:
    return True


@dataclass
class Recorder:
    """Acts on what one chunk of a run finds, each finding in a transaction of its own."""

    engine: Engine
    run_id: UUID
    chunks: int
    is_full: bool
    found: list[Finding] = field(default_factory=list)
    """What is recorded, each once it is committed."""
    unrecorded: int = 0
    """Found beyond MAX_FINDINGS."""
    _pending: list[Finding] = field(default_factory=list)

    def wrong(self, wrong: Discrepancy, *, still: Still = _always) -> None:
        """Freeze the wallets concerned, and record it.

        still: looks again, once the wallets are held, whether it is wrong at all.
        """
        with self._recording() as connection:
            connection.execute(_HOLD_CUSTOMERS, {"ids": array_literal(wrong.wallet_ids)})
            if still(connection, wrong):
                self._record_wrong(connection, wrong)

    def wrongs(self, wrongs: Sequence[Discrepancy], *, still: Still = _always) -> None:
        """The same for many: those that were told already at once, and none beyond the bound."""
        with self._recording() as connection:
            keys = array_literal([wrong.key for wrong in wrongs])
            known = set(connection.scalars(_SEE_ALL_AGAIN, self._and(keys=keys)))
        for wrong in wrongs:
            if wrong.key in known:
                continue
            if self.unrecorded:
                self.unrecorded += 1
            else:
                self.wrong(wrong, still=still)

    def projection(self, wallet_id: UUID, deviation: str) -> None:
        """Rebuild a wallet's balance, holds and clock from the journal, if that can be trusted.

        Looks again first, under the wallet's lock, which every step takes that moves it.
        deviation: by how much it was wrong when it was first seen. A wallet that is wrong in
        another way by now was spoilt again after the journal was read: it is left to the next.
        """
        with self._recording() as connection:
            connection.execute(_HOLD_WALLET, {"id": wallet_id})
            look = look_at(connection, wallet_id, run_id=self.run_id, is_full=self.is_full)
            if look is None or not look.is_complete or look.deviation != deviation:
                return
            if connection.execute(_IS_DOUBTFUL, self._and(wallet_id=wallet_id)).scalar_one():
                self._record_wrong(connection, not_rebuilt(look, "the journal cannot be trusted"))
            elif not self._has_room(connection):
                self.unrecorded += 1
            else:
                self._rebuild(connection, look)

    def is_known(self, wrong: Discrepancy) -> bool:
        """Whether it was told by an earlier run, or by this one, and stands."""
        with transaction(self.engine) as connection:
            return bool(connection.execute(_IS_KNOWN, {"key": wrong.key}).scalar_one())

    @contextmanager
    def _recording(self) -> Iterator[Connection]:
        self._pending.clear()
        with transaction(self.engine) as connection:
            hold(connection, self.run_id, self.chunks)
            yield connection
        self.found += self._pending

    def _rebuild(self, connection: Connection, look: WalletCheck) -> None:
        try:
            with savepoint(connection):
                values = look.rebuilt_values()
                table = schema.wallets
                connection.execute(update(table).where(table.c.id == look.wallet_id).values(values))
        except Poisoned:
            # What the journal says breaks a rule of the table: that is no projection's fault.
            self._record_wrong(connection, not_rebuilt(look, "a wallet must not look like that"))
            return
        before, after = look.differences()
        self._write(
            connection,
            kind="projection_wrong",
            wallet_id=look.wallet_id,
            detail=f"{_listed(before)} did not follow from the journal.",
            action="rebuilt",
            before=before,
            after=after,
        )

    def _record_wrong(self, connection: Connection, wrong: Discrepancy) -> None:
        if connection.execute(_SEE_AGAIN, self._and(key=wrong.key)).rowcount:
            return
        if not self._has_room(connection):
            self.unrecorded += 1
            return
        ids = array_literal(wrong.wallet_ids)
        doubtful = ids if wrong.is_about_amounts else array_literal(())
        connection.execute(_KEEP, self._and(key=wrong.key, ids=doubtful))
        statuses = {str(row.id): row.was for row in connection.execute(_FREEZE, {"ids": ids})}
        self._write(
            connection,
            kind=wrong.kind,
            wallet_id=wrong.wallet_id,
            asset=wrong.asset,
            transfer_id=wrong.transfer_id,
            detail=wrong.detail,
            action="frozen" if statuses else "alarmed",
            before={"status": statuses} if statuses else None,
            after={"status": dict.fromkeys(statuses, "frozen")} if statuses else None,
        )

    def _write(self, connection: Connection, **values: Any) -> None:
        table = schema.reconciliation_findings
        values = {"wallet_id": None, "asset": None, "transfer_id": None, **values}
        # Python's None is JSON's null to SQLAlchemy, unless it is left out.
        given = {name: value for name, value in values.items() if value is not None}
        write = insert(table).values(reconciliation_id=self.run_id, **given)
        at = connection.execute(write.returning(table.c.at)).scalar_one()
        connection.execute(_COUNT_ONE, {"run_id": self.run_id})
        self._pending.append(Finding(**values, at=at))

    def _has_room(self, connection: Connection) -> bool:
        argument = {"run_id": self.run_id, "most": MAX_FINDINGS}
        return bool(connection.execute(_HAS_ROOM, argument).scalar_one())

    def _and(self, **argument: object) -> dict[str, object]:
        return {"run_id": self.run_id, **argument}


def not_rebuilt(look: WalletCheck, reason: str) -> Discrepancy:
    """A projection that cannot be rebuilt: what it should be is not known, or not allowed."""
    before, after = look.differences()
    return Discrepancy(
        kind="projection_wrong",
        wallet_id=look.wallet_id,
        wallet_ids=(look.wallet_id,),
        detail=f"{_listed(before)} did not follow from the journal, which says "
        f"{_told(after)} for {_told(before)}. Left as it is: {reason}.",
    )


def hold(connection: Connection, run_id: UUID, chunks: int) -> None:
    """Keep others from going on with the run until the transaction ends, and wait for nobody long.

    Raises: Superseded: when they have done so already, or have given it up.
    """
    connection.execute(text(_LOCK_TIMEOUT))
    if connection.execute(_HOLD_RUN, {"run_id": run_id, "chunks": chunks}).first() is None:
        raise Superseded


def _listed(values: dict[str, Any]) -> str:
    return " and ".join(values).capitalize()


def _told(values: dict[str, Any]) -> str:
    return ", ".join(str(value) for value in values.values())


_run_id = bindparam("run_id", type_=Uuid())
_HOLD_RUN = text("""
    SELECT FROM reconciliations WHERE id = :run_id AND chunks = :chunks AND state = 'running'
    FOR NO KEY UPDATE
""").bindparams(_run_id)
# In id order, as the steps lock. Only customers' are frozen, so only those are held: a transit
# or an external wallet is everybody's, and a finding about one transfer must not stop all others.
_HOLD_CUSTOMERS = text("""
    SELECT FROM wallets WHERE id = ANY (CAST(:ids AS uuid[])) AND kind = 'customer'
    ORDER BY id FOR NO KEY UPDATE
""")
_HOLD_WALLET = text("SELECT FROM wallets WHERE id = :id FOR NO KEY UPDATE").bindparams(
    bindparam("id", type_=Uuid())
)
_FREEZE = text("""
    UPDATE wallets SET status = 'frozen'
    FROM (SELECT id, status AS was FROM wallets
          WHERE id = ANY (CAST(:ids AS uuid[])) AND kind = 'customer' AND status <> 'closed') AS old
    WHERE wallets.id = old.id RETURNING old.id, old.was
""")
_SEE_AGAIN = text("""
    UPDATE standing_wrongs SET last_found_in = :run_id WHERE key = :key
""").bindparams(_run_id)
_SEE_ALL_AGAIN = text("""
    UPDATE standing_wrongs SET last_found_in = :run_id
    WHERE key = ANY (CAST(:keys AS text[])) RETURNING key
""").bindparams(_run_id)
_KEEP = text("""
    INSERT INTO standing_wrongs (key, wallet_ids, found_in, last_found_in)
    VALUES (:key, CAST(:ids AS uuid[]), :run_id, :run_id)
""").bindparams(_run_id)
_IS_KNOWN = text("SELECT EXISTS (SELECT FROM standing_wrongs WHERE key = :key)")
# Of a full run, which has looked at every transfer by the time it asks.
_IS_DOUBTFUL = text("""
    SELECT EXISTS (SELECT FROM standing_wrongs
                   WHERE last_found_in = :run_id AND :wallet_id = ANY (wallet_ids))
""").bindparams(_run_id, bindparam("wallet_id", type_=Uuid()))
_HAS_ROOM = text("""
    SELECT findings_count < :most FROM reconciliations WHERE id = :run_id
""").bindparams(_run_id)
_COUNT_ONE = text("""
    UPDATE reconciliations SET findings_count = findings_count + 1 WHERE id = :run_id
""").bindparams(_run_id)
