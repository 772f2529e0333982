"""The drain as a task: replays buffered requests into the ledger, in order and in bulk.

Guarantees that a request leaves the buffer only after its outcome is committed, and that a
request which the database does not accept does not hold up those behind it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import Final

from celery import current_app, shared_task

from ledger.buffer import replaying
from ledger.buffer.entries import Buffered, IntakeBuffer, Waiting, decode
from ledger.buffer.replaying import Replayed, give_up, replay
from ledger.errors import NewerFormat, Poisoned, Unavailable, Unreadable
from ledger.postgres.database import transaction
from monitoring.logs import get_logger
from monitoring.metrics.catalogue import DRAINED
from monitoring.sentry import tracing
from resilience.outage_log import OutageLog
from settings import Settings
from tasks.broker.kick import kick_unless_one_waits
from tasks.buffer.intake_buffer import intake_buffer
from tasks.engine import engine
from tasks.run_log import recorded_run

log = get_logger(__name__)

TASK_NAME = "intake.drain"
CHUNK: Final = 1_000
"""The number of requests that share one commit."""
WORKS_FOR_S: Final = 10.0
"""After this the next drain continues. With one chunk more, it is below the time limit of tasks,
and below the time that the lock of `replaying.try_replay_lock` may be idle."""

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
            if not buffer.count():
                run.result = "nothing is buffered"
                return
            with replaying.try_replay_lock(engine()) as is_alone:
                if not is_alone:
                    _elsewhere.failed()
                    return
                with tracing.begin("drain", op="drain"):
                    done = drain_into_ledger(buffer)
            replayed = sum(asdict(done).values())
            run.result = f"replayed {replayed}, of which {done.refused} were rejected"
        except Unavailable as error:
            log.warning("drain_interrupted", error=str(error))
            run.ok, run.result = False, "interrupted: the database or the broker did not answer"


def drain_into_ledger(buffer: IntakeBuffer) -> Replayed:
    """Replay what is buffered, for WORKS_FOR_S at most. Returns: the number of each outcome.

    Raises: Unavailable: when the database or the broker goes away; the rest stays buffered.
    """
    total = Replayed()
    deadline_s = time.monotonic() + WORKS_FOR_S
    _elsewhere.recovered()
    try:
        while time.monotonic() < deadline_s and (entries := buffer.first(CHUNK)):
            done = _replay_entries(buffer, entries)
            buffer.remove(entries)
            if done.accepted:
                kick_unless_one_waits(current_app)
            total += done
            for outcome, count in asdict(done).items():
                DRAINED.labels(outcome).inc(count)
    finally:
        buffer.release()
        if total:
            log.info("drained", **asdict(total))
        if total.reused:
            log.warning("buffered_keys_reused", requests=total.reused)
    return total


def _replay_entries(buffer: IntakeBuffer, entries: Sequence[Waiting]) -> Replayed:
    requests = []
    for entry in entries:
        try:
            requests.append(decode(entry.content))
        except NewerFormat as error:
            log.error("buffered_by_a_newer_version", exc_info=error)
            raise Unavailable("A newer version buffered this, and has to drain it.") from error
        except Unreadable as error:
            log.error("buffered_request_unreadable", exc_info=error)
            buffer.set_aside(entry)
    return _replay(requests)


def _replay(requests: Sequence[Buffered]) -> Replayed:
    """Replay in one transaction; if a request in it fails, each half in one of its own."""
    try:
        with transaction(engine()) as connection:
            return replay(connection, requests)
    except Poisoned as error:
        if len(requests) == 1:
            log.error("buffered_request_refused", exc_info=error, transfer_id=str(requests[0].id))
            with transaction(engine()) as connection:
                give_up(connection, requests[0])
            return Replayed(refused=1)
    middle = len(requests) // 2
    return _replay(requests[:middle]) + _replay(requests[middle:])


@cache
def _buffer() -> IntakeBuffer:
    """Return the buffer of this worker process, made on first use, after the fork."""
    return intake_buffer(Settings.from_environment())
