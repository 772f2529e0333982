"""The chain: reserve → deduct → credit → commit over one batch, and rollback beside it.

A link names its batch and nothing else. Each runs one ledger step in one transaction, and
Celery publishes the next link after that. Whatever happens between the two (death, a broker
that is away) leaves transfers that stand still, which the recovery scan drives on.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import Task, chain, shared_task
from celery.canvas import Signature
from celery.exceptions import Ignore, SoftTimeLimitExceeded

from ledger import isolation, steps
from ledger.database import transaction
from ledger.errors import Disposition, disposition
from ledger.ids import new_id
from ledger.states import State, StepName, steps_from
from monitoring.logs import get_logger
from tasks.engine import engine
from tasks.measuring import measured
from tasks.retry import MAX_RETRIES, delay_s

log = get_logger(__name__)


@shared_task(bind=True, name="money.reserve", max_retries=MAX_RETRIES)
def reserve(self: Task[..., None], batch_id: str) -> None:
    """Claim what was accepted into this batch, and hold its money in the sources."""
    _run(self, "reserve", UUID(batch_id))


@shared_task(bind=True, name="money.deduct", max_retries=MAX_RETRIES)
def deduct(self: Task[..., None], batch_id: str) -> None:
    """Move the batch's money from the sources into transit."""
    _run(self, "deduct", UUID(batch_id))


@shared_task(bind=True, name="money.credit", max_retries=MAX_RETRIES)
def credit(self: Task[..., None], batch_id: str) -> None:
    """Move the batch's money from transit into the destinations, not yet to be spent."""
    _run(self, "credit", UUID(batch_id))


@shared_task(bind=True, name="money.commit", max_retries=MAX_RETRIES)
def commit(self: Task[..., None], batch_id: str) -> None:
    """Let the destinations spend the batch's money."""
    _run(self, "commit", UUID(batch_id))


@shared_task(bind=True, name="money.rollback", max_retries=MAX_RETRIES)
def rollback(self: Task[..., None], batch_id: str) -> None:
    """Undo the batch's failed transfers: those whose failure the database has on record.

    Also the errback of every link. A link may fail although its step committed, so the
    message alone decides nothing.
    """
    batch, worker = UUID(batch_id), _worker(self)
    try:
        with measured("rollback") as measure, transaction(engine()) as connection:
            measure.moved = ended = steps.roll_back(connection, batch)
    except Exception as error:  # `disposition` decides on every one
        _retry_or_raise(self, error)
        with transaction(engine()) as connection:
            halves = isolation.isolate_roll_back(connection, batch, error, worker=worker)
        log.error("rollback_failed", exc_info=error, batch_id=batch_id, halves=len(halves))
        for half in halves:
            of_batch(rollback, half).apply_async()
    else:
        if ended:
            log.info("rolled_back", batch_id=batch_id, transfers=ended)


def links_from(state: State, batch_id: UUID) -> Signature[Any]:
    """The chain that drives a batch on from `state`: the steps it still has before it."""
    links = chain(*(of_batch(_LINKS[step], batch_id) for step in steps_from(state)))
    return links.on_error(of_batch(rollback, batch_id))


def of_batch(task: Task[..., None], batch_id: UUID) -> Signature[Any]:
    """This task for this batch, and how Flower and logs show what it was given."""
    # Immutable and bound: a failing link then sends the errback as a message of its own,
    # instead of running it inside the failing process.
    shown = {"argsrepr": f"batch={batch_id}"}
    return task.signature(args=(str(batch_id),), options=shown, immutable=True)


def kick() -> None:
    """Publish a chain whose reserve will claim what has been accepted by the time it runs."""
    links_from("accepted", new_id()).apply_async()


_LINKS: dict[StepName, Task[..., None]] = {
    "reserve": reserve,
    "deduct": deduct,
    "credit": credit,
    "commit": commit,
}


def _run(task: Task[..., None], step: StepName, batch_id: UUID) -> None:
    attempt = task.request.retries or 0
    try:
        with measured(step) as measure, transaction(engine()) as connection:
            progress = steps.run_step(
                connection, step, batch_id, worker=_worker(task), attempt=attempt
            )
            measure.moved = progress.moved
    except Exception as error:
        _retry_or_raise(task, error)
        _isolate(task, step, batch_id, error)
        raise Ignore from error  # what is left of the batch goes on in chains of its own
    if progress.more:
        kick()
    if progress.failed:
        of_batch(rollback, batch_id).apply_async()
    if not progress.left:
        raise Ignore  # nothing for the links that follow


def _retry_or_raise(task: Task[..., None], error: Exception) -> None:
    """Returns only when `error` is some transfer's own fault."""
    match _disposition(error):
        case Disposition.RETRY:
            # Exhausted, this raises `error`: the transfers then wait for the recovery scan.
            raise task.retry(
                exc=error,
                countdown=delay_s(task.request.retries or 0),
                **_shown_as_before(task),
            )
        case Disposition.ALARM:
            log.error("step_impossible", exc_info=error)
            raise error
        case Disposition.REJECT:
            return


def _shown_as_before(task: Task[..., None]) -> dict[str, Any]:
    return {"argsrepr": task.request.get("argsrepr")}


def _disposition(error: BaseException) -> Disposition:
    # Being slow is no transfer's fault: it passes, like a database that is away.
    return Disposition.RETRY if isinstance(error, SoftTimeLimitExceeded) else disposition(error)


def _isolate(task: Task[..., None], step: StepName, batch_id: UUID, error: Exception) -> None:
    with transaction(engine()) as connection:
        halves = isolation.isolate_step(
            connection, step, batch_id, worker=_worker(task), decide=_disposition
        )
    log.error("step_failed", exc_info=error, step=step, batch_id=str(batch_id), halves=len(halves))
    start = next(state for state in _STARTS if steps_from(state)[0] == step)
    for half in halves:
        links_from(start, half).apply_async()
    if not halves:
        of_batch(rollback, batch_id).apply_async()


_STARTS: tuple[State, ...] = ("accepted", "reserved", "deducted", "credited")


def _worker(task: Task[..., None]) -> str:
    return task.request.hostname or "unknown"
