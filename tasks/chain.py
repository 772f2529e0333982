"""The chain: reserve → deduct → credit → commit over one batch, and rollback beside it.

The message of a link names its batch and nothing else. Each link runs one ledger step in one
transaction, and after that the next link is run by the same process (`tasks.in_place`) or
published. A failure between the two (a killed worker, a broker that is away) leaves transfers that
do not move; the recovery scan re-drives them (`tasks.recovery`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from celery import Task, chain, shared_task
from celery.canvas import Signature
from celery.exceptions import Ignore, SoftTimeLimitExceeded

from ledger import isolation, steps
from ledger.errors import Disposition, LockTimeout, StatementTimeout, Unavailable, disposition
from ledger.funds import waits
from ledger.ids import new_id
from ledger.postgres.database import transaction
from ledger.states import State, StepName, steps_from
from ledger.steps import Rollback
from monitoring.logs import get_logger
from tasks import in_place
from tasks.engine import engine
from tasks.in_place import Link
from tasks.retry import MAX_RETRIES, delay_s
from tasks.step_metrics import measured

log = get_logger(__name__)

RELEASE_ROUNDS = 20
"""The most transactions in which one task ends waits, `waits.RELEASED_AT_ONCE` in each."""


@shared_task(bind=True, base=Link, name="money.reserve", max_retries=MAX_RETRIES)
def reserve(self: Task[..., None], batch_id: str) -> None:
    """Claim accepted transfers into this batch, and hold their money in the sources."""
    _run(self, "reserve", UUID(batch_id))


@shared_task(bind=True, base=Link, name="money.deduct", max_retries=MAX_RETRIES)
def deduct(self: Task[..., None], batch_id: str) -> None:
    """Move the batch's money from the sources into transit."""
    _run(self, "deduct", UUID(batch_id))


@shared_task(bind=True, base=Link, name="money.credit", max_retries=MAX_RETRIES)
def credit(self: Task[..., None], batch_id: str) -> None:
    """Move the batch's money from transit into the destinations, not yet available there."""
    _run(self, "credit", UUID(batch_id))


@shared_task(bind=True, base=Link, name="money.commit", max_retries=MAX_RETRIES)
def commit(self: Task[..., None], batch_id: str) -> None:
    """Make the batch's money available in the destinations."""
    _run(self, "commit", UUID(batch_id))


@shared_task(bind=True, name="money.rollback", max_retries=MAX_RETRIES)
def rollback(self: Task[..., None], batch_id: str) -> None:
    """Undo the batch's failed transfers: those whose failure is recorded in the database.

    It is also the errback of every link. A link may fail although its step committed, so the
    database decides, not the message.
    """
    batch, worker = UUID(batch_id), _worker(self)
    try:
        with measured("rollback") as measure, transaction(engine()) as connection:
            ended = steps.roll_back(connection, batch, worker=worker)
            measure.moved = measure.ended = ended
    except Exception as error:  # `disposition` sorts every error
        if _is_halved(error, "rollback", batch):
            return
        _retry_or_raise(self, error)
        with transaction(engine()) as connection:
            halves = isolation.isolate_roll_back(connection, batch, error, worker=worker)
        log.error("rollback_failed", exc_info=error, batch_id=batch_id, halves=len(halves))
        for half in halves:
            _publish_again("rollback", half)
    else:
        if ended:
            log.info("rolled_back", batch_id=batch_id, transfers=ended)
            kick()  # for those that waited for one of them to end


def chain_from(state: State, batch_id: UUID) -> Signature[Any]:
    """Return the chain of the steps that a batch in `state` still needs."""
    links = chain(*(task_for_batch(_LINKS[step], batch_id) for step in steps_from(state)))
    return links.on_error(task_for_batch(rollback, batch_id))


def task_for_batch(task: Task[..., None], batch_id: UUID) -> Signature[Any]:
    """Return the message of a task for a batch, with its arguments as Flower and logs show them."""
    # Immutable and bound: a link that fails then sends the errback as a message, instead of
    # running it inside the failing process.
    shown = {"argsrepr": f"batch={batch_id}"}
    return task.signature(args=(str(batch_id),), options=shown, immutable=True)


def _release(ended_ids: Sequence[UUID]) -> int:
    """Release the transfers that wait for one of these, which have ended. Returns: how many.

    The step is committed, so its chain goes on whatever happens here: what is left, the next
    recovery scan releases, within STUCK_AFTER_S / 5.
    """
    count = 0
    for _ in range(RELEASE_ROUNDS if ended_ids else 0):
        try:
            with transaction(engine()) as connection:
                released = waits.release_rest(connection, ended_ids)
        except Unavailable as error:
            log.warning("waits_not_released", error=str(error))
            break
        count, ended_ids = count + released.count, released.rest
        if not ended_ids:
            break
    return count


def kick() -> None:
    """Publish a chain whose reserve will claim the transfers that are accepted when it runs."""
    chain_from("accepted", new_id()).apply_async()


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
            measure.moved, measure.ended = progress.moved, progress.ended
            measure.claim_s = progress.claim_s
    except Exception as error:
        if _is_halved(error, step, batch_id):
            raise Ignore from error
        _retry_or_raise(task, error)
        _isolate(task, step, batch_id, error)
        raise Ignore from error  # the parts of the batch go on in chains of their own
    if progress.set_aside:
        log.warning("set_aside", step=step, transfers=progress.set_aside)
    if _release(progress.awaited) or progress.more:
        kick()
    if progress.failed:
        task_for_batch(rollback, batch_id).apply_async()
    if not progress.left:
        raise Ignore  # the links that follow have nothing to do
    in_place.go_on()


def _is_halved(error: Exception, step: StepName | Rollback, batch_id: UUID) -> bool:
    """After a time-out, find the blocked wallets: the retry then goes on without them.

    Returns: whether the batch was halved instead, because a statement took too long by itself.
    """
    if not isinstance(error, LockTimeout | StatementTimeout):
        return False
    halves: list[UUID] = []
    try:
        with transaction(engine()) as connection:
            blocked = steps.find_blocked(connection, step, batch_id)
            if isinstance(error, StatementTimeout) and not blocked:
                halves = isolation.halve(connection, step, batch_id)
    except Unavailable as another:
        log.warning("cause_not_found", step=step, error=str(another))
        return False
    if blocked:
        log.warning("wallets_blocked", wallets=len(blocked), wallet_id=str(blocked[0]))
    if len(halves) < 2:
        return False
    log.warning("batch_halved", step=step)
    for half in halves:
        _publish_again(step, half)
    return True


def _publish_again(step: StepName | Rollback, batch_id: UUID) -> None:
    """Publish the rest of the chain from this step on, or the rollback."""
    if step == "rollback":
        task_for_batch(rollback, batch_id).apply_async()
    else:
        start = next(state for state in _STARTS if steps_from(state)[0] == step)
        chain_from(start, batch_id).apply_async()


def _retry_or_raise(task: Task[..., None], error: Exception) -> None:
    """Retry or raise `error`. Return only when the error is caused by a transfer itself."""
    # As it was shown before the retry.
    shown: dict[str, Any] = {"argsrepr": task.request.get("argsrepr")}
    match _disposition(error):
        case Disposition.RETRY:
            # After the last retry this raises `error`: the transfers wait for the recovery scan.
            raise task.retry(
                exc=error,
                countdown=delay_s(task.request.retries or 0),
                **shown,
            )
        case Disposition.ALARM:
            log.error("step_impossible", exc_info=error)
            raise error
        case Disposition.REJECT:
            return


def _disposition(error: BaseException) -> Disposition:
    # A time-out is not caused by a transfer: it passes, like an outage of the database.
    return Disposition.RETRY if isinstance(error, SoftTimeLimitExceeded) else disposition(error)


def _isolate(task: Task[..., None], step: StepName, batch_id: UUID, error: Exception) -> None:
    with transaction(engine()) as connection:
        halves = isolation.isolate_step(
            connection, step, batch_id, worker=_worker(task), decide=_disposition
        )
    log.error("step_failed", exc_info=error, step=step, batch_id=str(batch_id), halves=len(halves))
    for half in halves:
        _publish_again(step, half)
    if not halves:
        task_for_batch(rollback, batch_id).apply_async()


_STARTS: tuple[State, ...] = ("accepted", "reserved", "deducted", "credited")


def _worker(task: Task[..., None]) -> str:
    return task.request.hostname or "unknown"
