"""Batches: cuts any number of transfers into requests, and tells what became of each.

Guarantees one result for each transfer that was taken, in order, and memory for one request at
a time. Each transfer has its key before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from truepenny.answers.transfers import BatchResult
from truepenny.errors import (
    NotRecorded,
    OutcomeUnknown,
    Problem,
    Refused,
    TruepennyError,
    refusal,
)
from truepenny.idempotency import checked_key, new_key
from truepenny.money import amount_text
from truepenny.protocol.actions import Plan, Sleep
from truepenny.protocol.calls import Call, Id, at, json_body
from truepenny.protocol.exchange import exchange_with_doubt
from truepenny.protocol.judgement import (
    Denied,
    is_certainly_unrecorded,
    is_refusal,
    problem_of,
)
from truepenny.protocol.pauses import jitter_s
from truepenny.protocol.session import Session

MAX_ITEMS: Final = 5_000
MAX_BYTES: Final = 4 * 1024 * 1024
DEADLINE_S: Final = 300.0
"""For each request: a limit of transfers per minute makes a batch wait for minutes."""
_BEGIN, _END = b'{"transfers":[', b"]}"


@dataclass(frozen=True, kw_only=True)
class NewTransfer:
    """A transfer to be submitted in a batch."""

    source: Id
    destination: Id
    amount: Decimal | int | str
    asset: str
    reference: str | None = None
    metadata: Mapping[str, Any] | None = field(default=None, hash=False)
    idempotency_key: str = field(default_factory=new_key)

    def __post_init__(self) -> None:
        """Raises: TypeError: for a float. ValueError: for what is no amount or no key."""
        amount_text(self.amount)
        checked_key(self.idempotency_key)

    def encoded(self) -> bytes:
        """Return it as JSON."""
        return json_body(
            {
                "idempotency_key": self.idempotency_key,
                "source": str(self.source),
                "destination": str(self.destination),
                "amount": amount_text(self.amount),
                "asset": self.asset,
                "reference": self.reference,
                "metadata": self.metadata,
            }
        )


@dataclass(frozen=True)
class Item:
    """A transfer of a batch, ready to be sent."""

    idempotency_key: str
    encoded: bytes


class Cutter:
    """Collects transfers until a request is full."""

    def __init__(self, *, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes - len(_BEGIN + _END)
        self._items: list[Item] = []
        self._bytes = 0

    def add(self, transfer: NewTransfer) -> list[Item]:
        """Take one more. Returns: the items of a full request, without this one; else none."""
        item = Item(transfer.idempotency_key, transfer.encoded())
        size = len(item.encoded) + 1  # with its comma
        is_full = len(self._items) == self._max_items or self._bytes + size > self._max_bytes + 1
        full = self.rest() if is_full else []
        self._items.append(item)
        self._bytes += size
        return full

    def rest(self) -> list[Item]:
        """Return the items that no request has had yet."""
        items, self._items, self._bytes = self._items, [], 0
        return items


@dataclass(frozen=True)
class Submitted:
    """What became of the items of one request."""

    results: list[BatchResult]
    error: TruepennyError | None
    """Why the request as a whole failed, so that the next one would fail, too."""


def submit(session: Session, items: Sequence[Item], *, deadline_s: float) -> Plan[Submitted]:
    """Submit the items of one request. What may be tried again is sent again, with its keys."""
    ends_s = session.now_s() + deadline_s
    progress = _Progress(session, items)
    for attempt in range(session.retries + 1):
        pending = progress.pending
        call = _call([items[each] for each in pending])
        left_s = max(ends_s - session.now_s(), 0.0)
        try:
            answers, is_in_doubt = yield from exchange_with_doubt(session, call, deadline_s=left_s)
        except (Refused, NotRecorded, OutcomeUnknown) as error:
            progress.fail(error)
            return Submitted(progress.in_order(), error)
        if is_in_doubt:
            progress.doubtful.update(pending)
        for each, answer in zip(pending, answers, strict=True):
            progress.note(each, answer)
        pause_s = jitter_s(attempt)
        if not progress.pending or session.now_s() + pause_s >= ends_s:
            break
        yield Sleep(pause_s)
    progress.fail(None)
    return Submitted(progress.in_order(), None)


def not_sent(items: Iterable[Item]) -> list[BatchResult]:
    """Return the results of items that were taken, and not sent because of an error before."""
    keys = [item.idempotency_key for item in items]
    reason = "it was not sent, because the request before it failed"
    return [
        BatchResult(key, None, None, NotRecorded(reason, attempts=0, idempotency_key=key))
        for key in keys
    ]


@dataclass
class _Progress:
    """What is known of the items of one request, by their positions."""

    session: Session
    items: Sequence[Item]
    results: dict[int, BatchResult] = field(default_factory=dict)
    doubtful: set[int] = field(default_factory=set)
    """Of which an attempt may have been recorded."""
    problems: dict[int, Problem] = field(default_factory=dict)
    """Why those without a result have none yet."""

    @property
    def pending(self) -> list[int]:
        return [each for each in range(len(self.items)) if each not in self.results]

    def note(self, each: int, answer: _Answer) -> None:
        key = self.items[each].idempotency_key
        if not isinstance(answer, Problem):
            self.results[each] = BatchResult(key, *answer, None)
        elif is_refusal(answer.status):
            error = refusal(answer)
            if each in self.doubtful and not Denied(error).is_conclusive:
                self.results[each] = self._unknown(key, error)
            else:
                self.results[each] = BatchResult(key, error.transfer_id, None, error)
        else:
            self.problems[each] = answer
            if not is_certainly_unrecorded(answer):
                self.doubtful.add(each)

    def fail(self, error: Refused | NotRecorded | OutcomeUnknown | None) -> None:
        """End without a result for those that have none. error: why, if all have one reason."""
        for each in self.pending:
            item = self.items[each]
            why = error or NotRecorded(
                self.problems[each].detail,
                attempts=self.session.retries + 1,
                request_id=self.problems[each].request_id,
                idempotency_key=item.idempotency_key,
            )
            is_unknown = isinstance(why, OutcomeUnknown) or each in self.doubtful
            self.results[each] = (
                self._unknown(item.idempotency_key, why)
                if is_unknown
                else BatchResult(item.idempotency_key, None, None, why)
            )

    def in_order(self) -> list[BatchResult]:
        return [self.results[each] for each in range(len(self.items))]

    def _unknown(self, key: str, why: Refused | NotRecorded | OutcomeUnknown) -> BatchResult:
        id = self.session.transfer_id(key)
        reason = why.reason if isinstance(why, (OutcomeUnknown, NotRecorded)) else str(why)
        unknown = OutcomeUnknown(key, id, reason=reason, request_id=why.request_id)
        return BatchResult(key, id, None, unknown)


_Answer = tuple[str, str] | Problem
"""The id and the state of a transfer, or why there is none."""


def _call(items: list[Item]) -> Call[list[_Answer]]:
    def read(document: Any) -> list[_Answer]:
        results = document["results"]
        if len(results) != len(items):
            raise ValueError("it has another number of results")
        return list(map(_read_result, results))

    body = _BEGIN + b",".join(item.encoded for item in items) + _END
    return Call("POST", at("transfers", "batch"), read, body)


def _read_result(result: Any) -> _Answer:
    if "error" in result:
        return problem_of(result["error"], int(result["error"]["status"]), None)
    id, state = result["id"], result["state"]
    if not (isinstance(id, str) and isinstance(state, str)):
        raise ValueError("a result has no id or no state")  # noqa: TRY004 - it is the text's value
    return id, state
