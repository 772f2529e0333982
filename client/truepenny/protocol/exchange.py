"""Exchange: one call with all its attempts, until a result, a refusal or the end of the time.

Guarantees that the same request with the same key is sent each time, that a call ends within its
deadline, and that its end is told truly: `OutcomeUnknown` if any attempt may have arrived and
none was answered, `NotRecorded` only if none can have been recorded.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, TypeVar

from truepenny.errors import NotRecorded, OutcomeUnknown, TruepennyError, Unavailable
from truepenny.protocol.actions import HttpAnswer, Plan, Send, SendFailure, Sleep
from truepenny.protocol.calls import Call
from truepenny.protocol.judgement import Denied, Done, Failed, judge
from truepenny.protocol.pauses import jitter_s
from truepenny.protocol.session import Session

T = TypeVar("T")
_LEAST_S = 0.001


@dataclass
class _Course:
    """What the attempts of one call have come to so far."""

    session: Session
    call: Call[Any]
    ends_s: float
    attempts: int = 0
    is_in_doubt: bool = False
    """Whether an attempt may have been recorded."""
    reason: str = "nothing was sent, because the server asked to wait longer than the deadline"
    retry_after_s: float | None = None
    transfer_id: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def request_id(self) -> str | None:
        """The id of the last attempt, as the server's log has it."""
        return f"{self.id}-{self.attempts}" if self.attempts else None

    def note(self, failed: Failed) -> None:
        self.is_in_doubt |= failed.may_be_recorded
        self.reason = failed.reason
        self.retry_after_s = failed.retry_after_s or None
        self.transfer_id = failed.transfer_id or self.transfer_id

    def end(self) -> TruepennyError:
        """Return the error that tells what is known when there will be no further attempt."""
        call, key = self.call, self.call.idempotency_key
        if call.is_read:
            return Unavailable(self.reason, attempts=self.attempts, request_id=self.request_id)
        if not self.is_in_doubt:
            return NotRecorded(
                self.reason,
                attempts=self.attempts,
                request_id=self.request_id,
                idempotency_key=key,
                retry_after_s=self.retry_after_s,
            )
        if call.names_a_transfer and key is not None:
            self.transfer_id = self.transfer_id or self.session.transfer_id(key)
        return OutcomeUnknown(
            key,
            self.transfer_id,
            reason=self.reason,
            attempts=self.attempts,
            request_id=self.request_id,
        )


def exchange(session: Session, call: Call[T], *, deadline_s: float | None = None) -> Plan[T]:
    """Carry out a call. deadline_s: instead of the session's.

    Raises: Refused · NotRecorded · OutcomeUnknown · Unavailable (reads only).
    """
    result, _ = yield from exchange_with_doubt(session, call, deadline_s=deadline_s)
    return result


def exchange_with_doubt(
    session: Session, call: Call[T], *, deadline_s: float | None = None
) -> Plan[tuple[T, bool]]:
    """Carry out a call as `exchange`, and tell whether an earlier attempt may have arrived."""
    ends_s = session.now_s() + (session.deadline_s if deadline_s is None else deadline_s)
    course = _Course(session, call, ends_s)
    pause_s = 0.0
    for attempt in range(session.retries + 1):
        yield from _pause(course, pause_s)
        verdict = yield from _attempt(call, course)
        if isinstance(verdict, Done):
            return verdict.result, course.is_in_doubt
        if isinstance(verdict, Denied):
            if call.is_done_if_missing and course.is_in_doubt and verdict.error.status == 404:
                return call.read(None), True
            raise _denied(verdict, course)
        course.note(verdict)
        if not verdict.is_worth_a_retry or (course.is_in_doubt and not call.is_repeatable):
            break
        pause_s = verdict.retry_after_s + jitter_s(attempt)
        if verdict.is_limit:
            session.brake(is_read=call.is_read).hold(session.now_s(), pause_s)
    raise course.end()


def _pause(course: _Course, seconds: float) -> Plan[None]:
    """Pause, and as long as the brake holds. Raises: at once, when the time would be over."""
    brake = course.session.brake(is_read=course.call.is_read)
    while True:
        if held_s := brake.left_s(course.session.now_s()):
            seconds = max(seconds, held_s + jitter_s(course.attempts))
        if seconds <= 0:
            return
        if course.session.now_s() + seconds >= course.ends_s:
            course.retry_after_s = course.retry_after_s or held_s or None
            raise course.end()
        yield Sleep(seconds)
        seconds = 0.0


def _attempt(call: Call[T], course: _Course) -> Plan[Done[T] | Denied | Failed]:
    session = course.session
    course.attempts += 1
    headers = {
        **call.headers,
        "Authorization": f"Bearer {session.server.api_key}".encode(),
        "X-Request-Id": str(course.request_id).encode(),
    }
    if call.body is not None:
        headers["Content-Type"] = b"application/json"
    timeout_s = min(session.timeout_s + call.wait_s, max(course.ends_s - session.now_s(), _LEAST_S))
    outcome = yield Send(call.method, call.path, headers, call.body, timeout_s)
    if not isinstance(outcome, (HttpAnswer, SendFailure)):
        raise TypeError("the driver of a plan reports an answer or a failure of each request")
    return judge(call, outcome)


def _denied(denied: Denied, course: _Course) -> TruepennyError:
    """Return the refusal, or that the outcome is unknown, if an earlier attempt is in doubt."""
    error = denied.error
    if not course.is_in_doubt or denied.is_conclusive or course.call.is_read:
        return error
    course.reason = f"an attempt got no answer, and the next one was refused ({error})"
    unknown = course.end()
    unknown.__cause__ = error
    return unknown
