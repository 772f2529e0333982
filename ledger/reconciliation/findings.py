"""Findings of the consistency scan: acts on each discrepancy, and records it.

Guarantees that each finding is written once, in the transaction that acts on it. A discrepancy
that was recorded before and still stands is neither recorded nor acted on again, so a wallet
that an operator has unfrozen stays unfrozen. Never changes a posting.
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
from ledger.postgres import scan_tables, schema
from ledger.postgres.bulk_rows import array_literal
from ledger.postgres.database import savepoint, transaction
from ledger.reconciliation.wallet_check import WalletCheck
from ledger.reconciliation.wallet_scan import check_wallet

Action = Literal["rebuilt", "frozen", "alarmed"]

MAX_FINDINGS: Final = 1_000
"""The most discrepancies that one run records and acts on; more are only counted. So many mean a
fault that no scan should repair by itself. The next run takes the next ones."""

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"


@dataclass(frozen=True, slots=True)
class Finding:
    """The record of a discrepancy, and of the action on it."""

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
    """Something in the books that contradicts the ledger's rules."""

    kind: str
    detail: str
    wallet_ids: Sequence[UUID] = ()
    """All wallets concerned: customers' are frozen, and none is rebuilt while this stands."""
    wallet_id: UUID | None = None
    asset: str | None = None
    transfer_id: UUID | None = None
    leg: str | None = None

    @property
    def key(self) -> str:
        """The identity of the discrepancy: it is the same in a later run if the key is the same."""
        parts = (self.kind, self.wallet_id, self.asset, self.transfer_id, self.leg)
        return ":".join(str(part) for part in parts if part is not None)


Recheck = Callable[[Connection, Discrepancy], bool]


def _always(_connection: Connection, _discrepancy: Discrepancy) -> bool:
    return True


@dataclass
class Recorder:
    """Acts on the discrepancies of one chunk of a run, each in a transaction of its own."""

    engine: Engine
    run_id: UUID
    chunks: int
    is_full: bool
    found: list[Finding] = field(default_factory=list)
    """The recorded findings, each added after its commit."""
    unrecorded: int = 0
    """The number of discrepancies beyond MAX_FINDINGS."""
    _pending: list[Finding] = field(default_factory=list)

    def record(self, discrepancy: Discrepancy, *, recheck: Recheck = _always) -> None:
        """Freeze the wallets concerned, and record the discrepancy.

        recheck: called when the wallets are locked; False: there is no discrepancy any more.
        """
        with self._recording() as connection:
            connection.execute(_LOCK_CUSTOMERS, {"ids": array_literal(discrepancy.wallet_ids)})
            if recheck(connection, discrepancy):
                self._freeze_and_record(connection, discrepancy)

    def record_all(
        self, discrepancies: Sequence[Discrepancy], *, recheck: Recheck = _always
    ) -> None:
        """Record many: one statement for all that are known, and none beyond MAX_FINDINGS."""
        if not discrepancies:
            return
        with self._recording() as connection:
            keys = array_literal([each.key for each in discrepancies])
            known = set(connection.scalars(_SEE_ALL_AGAIN, self._and(keys=keys)))
        for each in discrepancies:
            if each.key in known:
                continue
            if self.unrecorded:
                self.unrecorded += 1
            else:
                self.record(each, recheck=recheck)

    def rebuild(self, wallet_id: UUID, deviation: str) -> None:
        """Rebuild a wallet's balance, holds and clock from the journal, if that can be trusted.

        Checks the wallet again first, under its lock, which every step that changes it takes.
        deviation: the differences when they were first found. If they are others now, the wallet
        was changed again after the journal was read: it is left to the next run.
        """
        with self._recording() as connection:
            connection.execute(_LOCK_WALLET, {"id": wallet_id})
            check = check_wallet(connection, wallet_id, run_id=self.run_id, is_full=self.is_full)
            if check is None or not check.is_complete or check.deviation != deviation:
                return
            is_doubtful = connection.execute(_IS_DOUBTFUL, self._and(wallet_id=wallet_id))
            if is_doubtful.scalar_one() or not check.does_journal_agree:
                self._freeze_and_record(
                    connection, not_rebuilt(check, "the journal cannot be trusted")
                )
            elif not self._has_room(connection):
                self.unrecorded += 1
            else:
                self._rebuild_row(connection, check)

    def is_known(self, discrepancy: Discrepancy) -> bool:
        """Return whether an earlier run, or this one, has recorded it and it still stands."""
        with transaction(self.engine) as connection:
            return bool(connection.execute(_IS_KNOWN, {"key": discrepancy.key}).scalar_one())

    @contextmanager
    def _recording(self) -> Iterator[Connection]:
        self._pending.clear()
        with transaction(self.engine) as connection:
            hold_run(connection, self.run_id, self.chunks)
            yield connection
        self.found += self._pending

    def _rebuild_row(self, connection: Connection, check: WalletCheck) -> None:
        try:
            with savepoint(connection):
                values = check.rebuilt_values()
                table = schema.wallets
                connection.execute(
                    update(table).where(table.c.id == check.wallet_id).values(values)
                )
        except Poisoned:
            # The values from the journal break a rule of the table: so the journal is wrong.
            self._freeze_and_record(
                connection, not_rebuilt(check, "a wallet must not have these values")
            )
            return
        before, after = check.differences()
        names = _listed(before)
        self._write(
            connection,
            kind="projection_wrong",
            wallet_id=check.wallet_id,
            detail=f"{names} did not follow from the journal.",
            action="rebuilt",
            before=before,
            after=after,
        )

    def _freeze_and_record(self, connection: Connection, discrepancy: Discrepancy) -> None:
        if connection.execute(_SEE_AGAIN, self._and(key=discrepancy.key)).rowcount:
            return
        if not self._has_room(connection):
            self.unrecorded += 1
            return
        ids = array_literal(discrepancy.wallet_ids)
        connection.execute(_KEEP, self._and(key=discrepancy.key, ids=ids))
        statuses = {str(row.id): row.was for row in connection.execute(_FREEZE, {"ids": ids})}
        self._write(
            connection,
            kind=discrepancy.kind,
            wallet_id=discrepancy.wallet_id,
            asset=discrepancy.asset,
            transfer_id=discrepancy.transfer_id,
            detail=discrepancy.detail,
            action="frozen" if statuses else "alarmed",
            before={"status": statuses} if statuses else None,
            after={"status": dict.fromkeys(statuses, "frozen")} if statuses else None,
        )

    def _write(self, connection: Connection, **values: Any) -> None:
        table = scan_tables.reconciliation_findings
        values = {"wallet_id": None, "asset": None, "transfer_id": None, **values}
        # SQLAlchemy would write None as JSON's null, so None is left out.
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


def not_rebuilt(check: WalletCheck, reason: str) -> Discrepancy:
    """Return the discrepancy of a wallet that is not rebuilt, with the reason."""
    before, after = check.differences()
    names = _listed(before)
    return Discrepancy(
        kind="projection_wrong",
        wallet_id=check.wallet_id,
        wallet_ids=(check.wallet_id,),
        detail=f"{names} did not follow from the journal, which gives "
        f"{_values(after)} instead of {_values(before)}. Not changed: {reason}.",
    )


def hold_run(connection: Connection, run_id: UUID, chunks: int) -> None:
    """Keep other workers from continuing the run until the transaction ends. Waits 2 s at most.

    Raises: Superseded: when one of them has continued it already, or has given it up.
    """
    connection.execute(text(_LOCK_TIMEOUT))
    if connection.execute(_LOCK_RUN, {"run_id": run_id, "chunks": chunks}).first() is None:
        raise Superseded


def _listed(values: dict[str, Any]) -> str:
    return " and ".join(values).capitalize()


def _values(values: dict[str, Any]) -> str:
    return ", ".join(str(value) for value in values.values())


_run_id = bindparam("run_id", type_=Uuid())
_LOCK_RUN = text("""
    SELECT FROM reconciliations WHERE id = :run_id AND chunks = :chunks AND state = 'running'
    FOR NO KEY UPDATE
""").bindparams(_run_id)
# In id order, as the steps lock. Only customer wallets are frozen, so only they are locked: transit
# and external wallets are shared, and a finding about one transfer must not stop all others.
_LOCK_CUSTOMERS = text("""
    SELECT FROM wallets WHERE id = ANY (CAST(:ids AS uuid[])) AND kind = 'customer'
    ORDER BY id FOR NO KEY UPDATE
""")
_LOCK_WALLET = text("SELECT FROM wallets WHERE id = :id FOR NO KEY UPDATE").bindparams(
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
# Used by a full run, which has checked every transfer before its wallets.
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
