"""The drain as a task: replays buffered requests into the ledger, in order and in bulk.

Guarantees that a request leaves the buffer only after its outcome is committed, that nothing is
replayed which this installation did not write, and that an entry which cannot be replayed does
not hold up those behind it: it is set aside for an operator.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from typing import Final
from uuid import UUID

from celery import current_app, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import OperationalError

from ledger.buffer import replaying
from ledger.buffer.entries import (
    Buffered,
    IntakeBuffer,
    Waiting,
    decode,
    decode_unverified,
    is_unsigned,
)
from ledger.buffer.missing import LOST_AFTER_S, note_missing, report_lost
from ledger.buffer.replaying import Replayed, give_up, replay
from ledger.buffer.seal import Seal
from ledger.buffer.set_aside import AsideReason, set_aside
from ledger.clients import find_clients
from ledger.errors import (
    Disposition,
    NewerFormat,
    NotAuthentic,
    Unavailable,
    Unreadable,
    disposition,
)
from ledger.postgres.database import transaction
from monitoring.logs import get_logger
from monitoring.metrics.catalogue import DRAINED
from monitoring.sentry import tracing
from resilience.cooldown import Cooldown
from resilience.outage_log import OutageLog
from settings import Settings
from tasks.broker.kick import kick_unless_one_waits
from tasks.buffer.intake_buffer import intake_buffer, intake_seal, put_log, unnamed_buffer
from tasks.buffer.put_log import PutLog
from tasks.engine import engine
from tasks.run_log import recorded_run

log = get_logger(__name__)

TASK_NAME = "intake.drain"
CHUNK: Final = 1_000
"""The number of requests that share one commit."""
WORKS_FOR_S: Final = 10.0
"""After this the next drain continues. With one chunk more, it is below the time limit of tasks,
and below the time that the lock of `replaying.try_replay_lock` may be idle."""

UNNAMED_CHUNKS: Final = 20
"""So many chunks of strangers' entries do not hide ours, in the buffer of version 1.0.0."""
_looked_for_unnamed = Cooldown(60.0)
_SHOWN_LOSSES: Final = 50
_looked_lately = Cooldown(15.0)
"""Without new requests the database need not be asked every second whether any is lost."""
_elsewhere = OutageLog(log, "drained_elsewhere", repeats=True, count_as="times", level="info")
"""Counts how often in a row another worker was draining."""


@shared_task(name=TASK_NAME)
def drain() -> None:
    """Replay what is buffered, unless another worker is doing it.

    Safe to run twice at once. Without the database, or without the broker, it does nothing.
    """
    with recorded_run("drain") as run:
        try:
            buffer = _buffer()
            if _looked_for_unnamed.allows():
                _looked_for_unnamed.start()
                with suppress(Unavailable):  # a RabbitMQ that has no such queue
                    set_aside_unnamed(_unnamed_buffer())
            if not buffer.count():
                run.result = "nothing is buffered"
                if note_losses(buffer, _put_log()) or _looked_lately.allows():
                    _looked_lately.start()
                    report_losses()
                return
            with replaying.try_replay_lock(engine()) as is_alone:
                if not is_alone:
                    _elsewhere.failed()
                    return
                with tracing.begin("drain", op="drain"):
                    done = drain_into_ledger(buffer)
            replayed = sum(asdict(done).values())
            run.result = f"replayed {replayed}, of which {done.refused} were rejected"
            if not replayed and buffer.count():
                run.ok = False
                run.result = "took nothing, although requests wait: another program holds them"
        except (Unavailable, OperationalError) as error:
            log.warning("drain_interrupted", error=str(error))
            run.ok, run.result = False, "interrupted: the database or the broker did not answer"


def set_aside_unnamed(buffer: IntakeBuffer) -> int:
    """Set aside what version 1.0.0 buffered for clients of this database. Returns: how many.

    That version did not name its buffer after an installation. Entries for other clients may be
    somebody else's, and stay. It looks through the first UNNAMED_CHUNKS.
    Raises: Unavailable: when the database is away, or the broker has no such buffer.
    """
    count, last = 0, None
    try:
        for _ in range(UNNAMED_CHUNKS):
            entries = buffer.first(CHUNK, after=last)
            if not entries:
                break
            ours, last = _ours_among(entries), entries[-1]
            _set_aside([(entry.content, entry.size_bytes, "unsigned") for entry in ours])
            buffer.remove(ours)
            count += len(ours)
    finally:
        buffer.release()
    return count


def _ours_among(entries: Sequence[Waiting]) -> list[Waiting]:
    """Return the entries of version 1.0.0 that name a client of this database."""
    client_ids: dict[object, UUID] = {}
    for entry in entries:
        if is_unsigned(entry.content):
            with suppress(Unreadable):
                client_ids[entry.ticket] = decode_unverified(entry.content).request.client.id
    if not client_ids:
        return []
    with transaction(engine()) as connection:
        known = find_clients(connection, set(client_ids.values()))
    return [entry for entry in entries if client_ids.get(entry.ticket) in known]


def drain_into_ledger(buffer: IntakeBuffer) -> Replayed:
    """Replay what is buffered, for WORKS_FOR_S at most. Returns: the number of each outcome.

    Raises: Unavailable: when the database or the broker goes away; the rest stays buffered.
    """
    total = Replayed()
    deadline_s = time.monotonic() + WORKS_FOR_S
    _elsewhere.recovered()
    try:
        while time.monotonic() < deadline_s and (entries := buffer.first(CHUNK)):
            requests, strange, newer = _read(entries)
            done = _set_aside(strange) + _replay(requests)
            buffer.remove(entries[: len(entries) - newer])
            if done.accepted:
                kick_unless_one_waits(current_app)
            total += done
            for outcome, count in asdict(done).items():
                DRAINED.labels(outcome).inc(count)
            if newer:
                raise Unavailable("A newer version buffered this, and has to drain it.")
    finally:
        buffer.release()
        if total:
            log.info("drained", **asdict(total))
        if total.reused:
            log.warning("buffered_keys_reused", requests=total.reused)
    return total


_Strange = tuple[bytes, int, AsideReason]
"""An entry that is not replayed: its bytes, its size, and why."""


def _read(entries: Sequence[Waiting]) -> tuple[list[Buffered], list[_Strange], int]:
    """Return the requests, what is to be set aside, and how many are left for a newer version.

    Those are the first that a newer version wrote and all behind it, so that the order stays.
    """
    requests: list[Buffered] = []
    strange: list[_Strange] = []
    for position, entry in enumerate(entries):
        try:
            requests.append(decode(entry.content, entry_seal()))
        except NewerFormat as error:
            log.error("buffered_by_a_newer_version", exc_info=error)
            return requests, strange, len(entries) - position
        except NotAuthentic:
            reason: AsideReason = "unsigned" if is_unsigned(entry.content) else "not_authentic"
            strange.append((entry.content, entry.size_bytes, reason))
        except Unreadable:
            strange.append((entry.content, entry.size_bytes, "unreadable"))
    return requests, strange, 0


def _replay(requests: Sequence[Buffered]) -> Replayed:
    """Replay in one transaction; if a request in it fails, each half in one of its own."""
    if not requests:
        return Replayed()
    try:
        with transaction(engine()) as connection:
            done, unknown = replay(connection, requests)
        return done + _set_aside_requests(unknown, "unknown_client")
    except Exception as error:  # `disposition` sorts every error
        if not _is_caused_by_a_request(error):
            raise
        if len(requests) == 1:
            log.error("buffered_request_refused", exc_info=error, transfer_id=str(requests[0].id))
            return _give_up(requests[0])
    middle = len(requests) // 2
    return _replay(requests[:middle]) + _replay(requests[middle:])


def _give_up(request: Buffered) -> Replayed:
    """Record a request as rejected or, if the database does not even take that, set it aside."""
    try:
        with transaction(engine()) as connection:
            give_up(connection, request)
    except Exception as error:  # as above
        if not _is_caused_by_a_request(error):
            raise
        return _set_aside_requests([request], "unrecordable")
    return Replayed(refused=1)


def _is_caused_by_a_request(error: Exception) -> bool:
    # A time-out passes, like an outage of the database.
    is_timeout = isinstance(error, SoftTimeLimitExceeded)
    return not is_timeout and disposition(error) is Disposition.REJECT


def _set_aside_requests(requests: Sequence[Buffered], reason: AsideReason) -> Replayed:
    return _set_aside([(each.content, len(each.content), reason) for each in requests])


def _set_aside(entries: Sequence[_Strange]) -> Replayed:
    """Keep entries in the database for an operator, and alarm."""
    if not entries:
        return Replayed()
    limit = Settings.from_environment().intake_buffer_limit
    with transaction(engine()) as connection:
        lost = set_aside(connection, entries, limit=limit)
    for reason, count in Counter(reason for _, _, reason in entries).items():
        log.error("buffer_entries_set_aside", reason=reason, entries=count)
    if lost:
        log.error("buffer_entries_lost", entries=lost, limit=limit)
    return Replayed(set_aside=len(entries))


@cache
def _unnamed_buffer() -> IntakeBuffer:
    return unnamed_buffer(Settings.from_environment())


@cache
def _buffer() -> IntakeBuffer:
    """Return the buffer of this worker process, made on first use, after the fork."""
    return intake_buffer(Settings.from_environment())


def note_losses(buffer: IntakeBuffer, put_log: PutLog) -> bool:
    """Note which requests of the log are neither in the buffer nor in the database.

    Returns: whether there were any requests in the log.
    """
    ids = put_log.read()
    # What was put before the log was read has left an empty buffer by way of the database.
    if ids and not buffer.count():
        for start in range(0, len(ids), CHUNK):
            with transaction(engine()) as connection:
                note_missing(connection, set(ids[start : start + CHUNK]))
        put_log.forget()
    return bool(ids)


def report_losses(*, after_s: float = LOST_AFTER_S) -> list[UUID]:
    """Log requests that have been missed for so long, once. Returns: the transfers' ids."""
    with transaction(engine()) as connection:
        lost = report_lost(connection, after_s=after_s)
    if lost:
        shown = [str(id) for id in lost[:_SHOWN_LOSSES]]
        log.error("buffered_requests_lost", requests=len(lost), transfer_ids=shown)
    return lost


@cache
def _put_log() -> PutLog:
    return put_log(Settings.from_environment())


@cache
def entry_seal() -> Seal:
    """Return what authenticates entries, with the secrets that this process was started with."""
    return intake_seal(Settings.from_environment())
