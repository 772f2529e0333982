"""Links in place: runs the next link of a chain in the process that has just committed one.

It is the task that the broker would bring, with the message, id, signals, time limits, retries and
errbacks that Celery gives it; only the way through the broker is left out. The message of the
first link is acknowledged when the last one has ended. So if the process dies between two links,
the batch stands as after a lost message: the recovery scan re-drives it, or the first message comes
again, finds its own step done, and brings the links that are left.

Guarantees that a job runs at most the links of one chain, and starts one only while a link's time
fits into the job's limit; if not, that link goes through the broker. Whatever else a link
publishes (retries, rollbacks, kicks, the halves of a batch) does so too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from celery import Celery, Task
from celery.states import FAILURE, RETRY
from kombu.utils.encoding import safe_repr

from tasks.hops import SENT_AT

LINK_S: Final = 40.0
"""A link is started in place only if the job's soft time limit leaves it so much time."""

Event = tuple[str, dict[str, Any]]
"""A Celery event's type and fields."""


@dataclass(frozen=True, slots=True)
class InPlaceResult:
    """The result of a job that ran links in place, for the worker's main process."""

    first: str
    """What the first link returned, as Celery shows it."""
    first_ended_at: float
    events: tuple[Event, ...]
    """The events of the links that were run in place."""


class Link(Task):  # type: ignore[type-arg] # generic in the stubs alone
    """A task of the chain, which may be run in place after the link before it."""

    abstract = True
    Request = "workers.link_request:LinkRequest"

    def apply_async(self, *arguments: Any, **options: Any) -> Any:
        """Publish the task, or keep it for this process if it is the next link of its job."""
        if _job.may_follow and time.monotonic() < _job.start_until_s:
            # It is not sent, so there is nothing to repeat.
            options |= {"producer": _Keeper(self.app), "retry": False}
        return super().apply_async(*arguments, **options)


def go_on() -> None:
    """Say that the running link has done its work: what Celery now publishes is the next link."""
    _job.may_follow = True


def install(app: Celery) -> None:
    """Let the links of this process be run in place. Called in a child, after the fork."""
    links = {name: task for name, task in app.tasks.items() if isinstance(task, Link)}
    traces: dict[str, Trace] = {name: task.__trace__ for name, task in links.items()}
    for link in links.values():
        link.__trace__ = partial(_run_job, traces, link)


@dataclass(slots=True)
class _Job:
    """The job of this process, which never runs two at once."""

    start_until_s: float = 0.0
    may_follow: bool = False
    kept: dict[str, Any] | None = None
    """The next link, as the request that Celery's worker makes of a message."""

    def take(self) -> dict[str, Any] | None:
        self.may_follow, kept, self.kept = False, self.kept, None
        return kept


_job = _Job()


class _Keeper:
    """Takes the place of the producer that publishes the next link, and keeps its message."""

    def __init__(self, app: Celery) -> None:
        self.connection = app.connection_for_write()  # which is not opened

    def publish(self, body: Any, *, headers: Mapping[str, Any], **sent: Any) -> None:
        args, kwargs, embedded = body
        headers = {name: value for name, value in headers.items() if name != SENT_AT}
        properties = {name: sent[name] for name in ("correlation_id", "reply_to")}
        delivery = {"exchange": sent["exchange"], "routing_key": sent["routing_key"]}
        _job.kept = {
            **headers,
            **properties,
            "properties": properties,
            "delivery_info": {**delivery, "priority": None, "redelivered": False},
            "args": args,
            "kwargs": kwargs,
            "is_eager": False,
            **embedded,
        }


Trace = Callable[..., Any]


def _run_job(
    traces: Mapping[str, Trace],
    task: Link,
    id: str,
    args: Any,
    kwargs: Any,
    request: dict[str, Any],
) -> Any:
    """Run a link that the broker has brought, and those that follow it."""
    limits = request.get("timelimit") or (None, None)
    soft_limit_s = limits[1] or task.soft_time_limit or 0.0
    _job.take()  # of a job that was cut off
    _job.start_until_s = time.monotonic() + soft_limit_s - LINK_S
    first = traces[task.name](id, args, kwargs, request)
    ended_at, events = time.time(), list[Event]()
    while (link := _job.take()) is not None:
        link["hostname"] = request["hostname"]
        events += _run_link(traces[link["task"]], link)
    if not events:
        return first
    return first._replace(retstr=InPlaceResult(first.retstr, ended_at, tuple(events)))


def _run_link(trace: Trace, link: dict[str, Any]) -> list[Event]:
    """Run a link in place. Returns: its events, as the worker's main process would send them."""
    about = {
        "uuid": link["id"],
        "name": link["task"],
        "retries": link["retries"],
        "args": link["argsrepr"],
        "kwargs": link["kwargsrepr"],
        "root_id": link["root_id"],
        "parent_id": link["parent_id"],
        "eta": None,
        "expires": None,
    }
    started = {"uuid": link["id"], "timestamp": time.time()}
    result = trace(link["id"], link["args"], link["kwargs"], link)
    ended = {"uuid": link["id"], "timestamp": time.time()}
    events = [("task-received", about | started), ("task-started", started)]
    if result.info is None:
        succeeded = {"result": result.retstr, "runtime": result.runtime}
        return [*events, ("task-succeeded", ended | succeeded)]
    error = result.info.retval
    traced = {"traceback": str(getattr(result.retval, "traceback", ""))}
    if result.info.state == RETRY:
        return [*events, ("task-retried", ended | {"exception": safe_repr(error.exc)} | traced)]
    if result.info.state == FAILURE:
        return [*events, ("task-failed", ended | {"exception": safe_repr(error)} | traced)]
    return events  # ignored, of which Celery sends no event
