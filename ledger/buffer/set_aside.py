"""Set-aside entries: what was in the intake buffer and was not replayed, kept for an operator.

Guarantees that an entry which nobody can vouch for holds up none behind it, and that it is not
lost: it is kept in the database, once, until an operator replays or discards it. The number of
entries is bounded, since a stranger may have written them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, cast, get_args
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Connection,
    LargeBinary,
    Text,
    Uuid,
    bindparam,
    case,
    delete,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from ledger.buffer.entries import MAX_ENTRY_BYTES, decode, decode_unverified
from ledger.buffer.replaying import Replayed, replay
from ledger.buffer.seal import Seal
from ledger.errors import NotFound, Unreadable
from ledger.postgres import schema
from ledger.postgres.bulk_rows import Columns, rows_argument, rows_parameter

AsideReason = Literal["unsigned", "not_authentic", "unreadable", "unknown_client", "unrecordable"]
REASONS: Final[tuple[AsideReason, ...]] = get_args(AsideReason)

_MAX_BYTES: Final = 2**30
"""Of the table: a stranger must not fill the database's disk."""
_t = schema.set_aside_entries.c


@dataclass(frozen=True, slots=True)
class AsideEntry:
    """An entry that was set aside, as it was found. seq: its place in the order of arrival."""

    seq: int
    reason: AsideReason
    content: bytes
    """Its beginning only, if it has fewer than `size_bytes`."""
    size_bytes: int
    set_aside_at: datetime


def set_aside(
    connection: Connection, entries: Sequence[tuple[bytes, int, AsideReason]], *, limit: int
) -> int:
    """Keep entries for an operator. An entry that is kept already is not kept twice.

    entries: of each its bytes, or their beginning, the number of all its bytes, and the reason.
    limit: how many entries may be kept in all, unless the table has reached 1 GiB before.
    Returns: how many found no room and are lost.
    """
    if not entries:
        return 0
    rows = {_digest(content, size): (reason, content, size) for content, size, reason in entries}
    argument = rows_argument(
        _COLUMNS,
        (
            (digest, reason, content[:MAX_ENTRY_BYTES], size, _claimed_id(content))
            for digest, (reason, content, size) in rows.items()
        ),
    )
    connection.execute(_KEEP, argument | {"most": limit})
    return len(rows) - int(connection.execute(_COUNT_KEPT, argument).scalar_one())


def count_aside(connection: Connection) -> dict[AsideReason, int]:
    """Return how many entries are kept, by reason; each reason has a number."""
    rows = connection.execute(select(_t.reason, func.count()).group_by(_t.reason))
    counted = {cast(AsideReason, reason): int(count) for reason, count in rows}
    return dict.fromkeys(REASONS, 0) | counted


def list_aside(connection: Connection, *, after: int, limit: int) -> list[AsideEntry]:
    """Return entries in the order of arrival, from behind the one with the number `after`."""
    rows = connection.execute(_SELECT.where(_t.seq > after).order_by(_t.seq).limit(limit))
    return [AsideEntry(*row) for row in rows]


def replay_aside(connection: Connection, seq: int, seal: Seal) -> Replayed:
    """Carry an entry out as its client, and remove it, within the caller's transaction.

    An unsigned entry is believed here: call this only where an operator has looked at it.
    Raises: NotFound: when there is no such entry, or its client does not exist. Unreadable: when
    it is no request, or carries no genuine mark. Else as `ledger.buffer.replaying.replay`.
    """
    row = connection.execute(_SELECT.where(_t.seq == seq).with_for_update()).one_or_none()
    if row is None:
        raise NotFound("There is no such entry.")
    entry = AsideEntry(*row)
    is_believed = entry.reason == "unsigned"
    request = decode_unverified(entry.content) if is_believed else decode(entry.content, seal)
    done, unknown = replay(connection, [request])
    if unknown:
        raise NotFound("The database does not know the client of this entry.")
    remove_aside(connection, seq)
    return done


def remove_aside(connection: Connection, seq: int) -> bool:
    """Remove an entry. Returns: False when it was gone already."""
    removed = connection.execute(delete(schema.set_aside_entries).where(_t.seq == seq))
    return removed.rowcount == 1


def _claimed_id(content: bytes) -> UUID | None:
    try:
        return decode_unverified(content).id
    except Unreadable:
        return None


def _digest(content: bytes, size_bytes: int) -> bytes:
    return hashlib.sha256(size_bytes.to_bytes(8, "big") + content).digest()


_SELECT = select(_t.seq, _t.reason, _t.content, _t.size_bytes, _t.set_aside_at)
_COLUMNS: Columns = {
    "digest": LargeBinary(),
    "reason": Text(),
    "content": LargeBinary(),
    "size_bytes": BigInteger(),
    "transfer_id": Uuid(),
}
_given = rows_parameter("given", _COLUMNS)
_room = (
    bindparam("most", type_=BigInteger())
    - select(func.count()).select_from(schema.set_aside_entries).scalar_subquery()
)
_is_too_large = func.pg_total_relation_size("set_aside_entries") > _MAX_BYTES
_KEEP = (
    insert(schema.set_aside_entries)
    .from_select(
        list(_COLUMNS),
        select(*(_given.c[name] for name in _COLUMNS))
        .where(_given.c.digest.not_in(select(_t.digest)))
        .order_by(_given.c.position)
        .limit(case((_is_too_large, 0), else_=func.greatest(_room, 0))),
    )
    .on_conflict_do_nothing()
)
_COUNT_KEPT = select(func.count()).select_from(_given).where(_given.c.digest.in_(select(_t.digest)))
