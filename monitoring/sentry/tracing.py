"""Tracing: one trace from an HTTP request through every link of its chain.

Guarantees that a process without tracing pays almost nothing for it, and that a request that is
not sampled costs one random number. A trace begins with a request, or with a scan that moves
batches (a re-drive, a drain); all following work joins it, and nothing else begins one. Trace
headers of clients are ignored: a client could otherwise make us sample everything.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from sentry_sdk.tracing import Transaction

HEADERS: Final = ("sentry-trace", "baggage")

_carried: ContextVar[dict[str, str] | None] = ContextVar("carried", default=None)

_rate = 0.0
_enabled = False


def enable(rate: float) -> None:
    """Trace from now on. rate: the share of requests that are sampled, from 0 to 1."""
    global _rate, _enabled
    _rate, _enabled = rate, True


def current() -> dict[str, str] | None:
    """Return the headers with which a message joins the current trace; None without a trace."""
    if not _enabled:
        return None
    if (carried := _carried.get()) is not None:
        return carried
    import sentry_sdk

    span = sentry_sdk.get_current_span()
    return dict(span.iter_headers()) if span is not None and span.sampled else None


@contextmanager
def carry(headers: dict[str, str] | None) -> Iterator[None]:
    """Continue, inside the block, a trace captured by `current` in another thread."""
    token = _carried.set(headers)
    try:
        yield
    finally:
        _carried.reset(token)


@contextmanager
def begin(name: str, *, op: str) -> Iterator[Transaction | None]:
    """Begin a trace that lasts for the block, if it is sampled."""
    if not _enabled or random.random() >= _rate:  # noqa: S311 - sampling is no secret
        yield None
        return
    import sentry_sdk

    with sentry_sdk.isolation_scope():
        begun = sentry_sdk.start_transaction(op=op, name=name, sampled=True)
        transaction = cast("Transaction", begun)
        transaction.sample_rate = _rate  # the SDK would send 1, as `sampled` is given
        with transaction:
            yield transaction


@contextmanager
def join(headers: Mapping[str, str], name: str, *, op: str) -> Iterator[Transaction | None]:
    """Continue, inside the block, the trace in the headers of a message."""
    if not _enabled or HEADERS[0] not in headers:
        yield None
        return
    import sentry_sdk

    with sentry_sdk.isolation_scope():
        brought = {key: headers[key] for key in HEADERS if key in headers}
        going_on = sentry_sdk.continue_trace(brought, op=op, name=name, source="task")
        with cast("Transaction", sentry_sdk.start_transaction(going_on)) as transaction:
            yield transaction
