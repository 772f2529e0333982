"""Order of recording: lists transfers so that a poller who goes on from its place misses none.

Transactions become visible in another order than that in which they began, so no clock and no
sequence orders rows by when they can be seen. PostgreSQL numbers the transactions that write, and
knows below which number all have ended. The list is ordered by that number and ends below it:
what is not yet certain to be complete is not shown, and comes with a later request.

A transaction that stays open, of whatever program in the same cluster, delays the end of the list
until it ends. Nothing is lost by that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
)

from ledger.clients import Client
from ledger.errors import Invalid, Misconfigured, Unaccepted
from ledger.polling.eras import ERA_BITS, LAST_ERA
from ledger.postgres import schema
from ledger.postgres.session import TIMELINE
from ledger.transfers import Transfer, TransferFilter, find_transfers, touching

READ_AT_MOST: Final = 20_000
"""How many rows, of whichever clients, one request reads to find those that are asked for."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the order of recording, after a transfer that was read. It stays valid for good.

    order: `transfers.recorded_order`; of transfers that are older than this column the
    microseconds of their `created_at`, which are fewer than those of the first era.
    accepted_at_us: when the server that gave the place was accepted, in microseconds since 1970,
    which tells its history from others; 0: that is not known.
    """

    order: int
    id: UUID
    accepted_at_us: int = 0

    @property
    def is_before_eras(self) -> bool:
        return self.order < _FIRST_ERA.order


START: Final = Place(0, UUID(int=0))
_FIRST_ERA: Final = Place(1 << ERA_BITS, UUID(int=0))
_t = schema.transfers.c


def list_recorded(
    connection: Connection,
    *,
    caller: Client,
    limit: int,
    after: Place,
    narrow: TransferFilter,
    read_at_most: int = READ_AT_MOST,
) -> tuple[list[Transfer], Place]:
    """Return the next transfers that touch the caller's wallets (for an admin: all).

    after: the place that the request before returned, or START. narrow: without a state, which
    changes after a place was passed. read_at_most: how many rows to search for them.
    Returns: the transfers, and the place from which to go on. There may be more after it even if
    the page is not full, or empty.
    Raises: Invalid: when the place is of a history that this database does not have.
    Misconfigured: when the numbers have run out, so that what is new would be missed.
    """
    end = _end_of_list(connection, after)
    # One transfer is found by its key at once, however many rows were recorded before it.
    wanted = true() if narrow.id is None else _t.id == narrow.id
    if after.is_before_eras and end.earlier_until is not None:
        rows = _Rows(
            _t.created_at,
            (_EPOCH + after.order * _MICROSECOND, after.id),
            and_(wanted, _t.recorded_order == 0, _t.created_at <= end.earlier_until),
            read_at_most,
        )
    else:
        after = _FIRST_ERA if after.is_before_eras else after
        rows = _Rows(
            _t.recorded_order,
            (after.order, after.id),
            and_(wanted, _t.recorded_order > 0, _t.recorded_order < end.order),
            read_at_most,
        )
    page = connection.execute(rows.matching(caller, narrow).limit(limit)).all()
    if len(page) == limit:
        place = _place(page[-1])
    elif last_read := connection.execute(rows.last_of_those_read()).one_or_none():
        place = _place(last_read)
    elif rows.key is _t.created_at:
        place = _FIRST_ERA
    else:
        last = connection.execute(rows.last()).one_or_none()
        place = after if last is None else _place(last)
    found = find_transfers(connection, [row.id for row in page]) if page else {}
    place = replace(place, accepted_at_us=end.accepted_at_us)
    return [found[row.id] for row in page], place


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows after a place, in their order, as far as they are certain to be complete.

    key: the column that orders them, before their ids. after: its value and the id at the place.
    """

    key: ColumnElement[Any]
    after: tuple[Any, UUID]
    within: ColumnElement[bool]
    read_at_most: int

    def matching(self, caller: Client, narrow: TransferFilter) -> Select[Any]:
        """Select those that are asked for, among the first `read_at_most`."""
        read = (
            self._after_place(*_SEEN, self.key.label("key")).limit(self.read_at_most).subquery().c
        )
        query = select(read.id, read.key).where(or_(*touching(caller, narrow, read)))
        if narrow.created_after is not None:
            query = query.where(read.created_at > narrow.created_after)
        if narrow.created_before is not None:
            query = query.where(read.created_at < narrow.created_before)
        return query.order_by(read.key, read.id)

    def last_of_those_read(self) -> Select[Any]:
        """Select the last of the first `read_at_most`; nothing when there are fewer."""
        query = self._after_place(_t.id, self.key.label("key"))
        return query.offset(self.read_at_most - 1).limit(1)

    def last(self) -> Select[Any]:
        """Select the last of all."""
        query = select(_t.id, self.key.label("key")).where(self._condition())
        return query.order_by(self.key.desc(), _t.id.desc()).limit(1)

    def _after_place(self, *columns: ColumnElement[Any]) -> Select[Any]:
        return select(*columns).where(self._condition()).order_by(self.key, _t.id)

    def _condition(self) -> ColumnElement[bool]:
        return and_(self.within, tuple_(self.key, _t.id) > tuple_(*map(literal, self.after)))


_SEEN: Final = (
    _t.id,
    _t.source_id,
    _t.destination_id,
    _t.source_owner_id,
    _t.destination_owner_id,
    _t.created_at,
)


def _place(row: Any) -> Place:
    is_time = isinstance(row.key, datetime)
    return Place((row.key - _EPOCH) // _MICROSECOND if is_time else row.key, row.id)


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the list at a moment.

    order: below it nothing can appear any more. earlier_until: the newest time of a transfer
    that is older than the column; None when there are none.
    """

    order: int
    earlier_until: datetime | None
    accepted_at_us: int


_ACCEPTED_AT_US: Final = "(extract(epoch FROM {}.began_at) * 1000000)::bigint"
# `xmin`: the lowest number of a transaction that had not ended when the statement began.
# Each timeline since the newest recorded era has one more.
_END: Final = text(
    f"""
    SELECT newest.era + {TIMELINE} - ('x' || newest.timeline)::bit(32)::bigint AS era,
        pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin,
        (SELECT min(earlier_until) FROM recording_eras) AS earlier_until,
        newest.system = (SELECT system_identifier::text FROM pg_control_system()) AS is_here,
        {_ACCEPTED_AT_US.format("newest")} AS accepted_at_us,
        :place = 0 OR EXISTS (SELECT FROM recording_eras AS each
                              WHERE {_ACCEPTED_AT_US.format("each")} = :place) AS is_known
    FROM recording_eras AS newest ORDER BY newest.era DESC LIMIT 1
    """  # noqa: S608 - of a constant
)


def _end_of_list(connection: Connection, after: Place) -> _End:
    row = connection.execute(_END, {"place": after.accepted_at_us}).one()
    if not row.is_here:
        raise Unaccepted
    if not row.is_known:
        raise Invalid(
            "cursor was made on a database whose later history is lost here: it was restored from "
            "a backup. Start again without it, or from a created_after that you are sure of."
        )
    if row.era > LAST_ERA:
        raise Misconfigured("The order of recording has no numbers left for new transfers.")
    return _End((row.era << ERA_BITS) + row.xmin, row.earlier_until, row.accepted_at_us)
