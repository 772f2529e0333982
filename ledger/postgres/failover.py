"""Opening connections to PostgreSQL, and never waiting for one of its answers without end.

Guarantees that a server which stops answering (frozen, or behind a cut cable) costs a bounded
time: the server's own time-outs do not run while it stands still, so a deadline on this side
counts as well. Of several hosts the first that takes the session as asked for is used, and
one that hangs is passed over.
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, connection, parse_dsn, set_wait_callback

CONNECT_TIMEOUT_S = 2.0
"""For each host. libpq's own `connect_timeout` is not heard where a wait callback is set."""


class _Connection(connection):
    """A connection that gives up on the server after `answer_timeout_s`."""

    answer_timeout_s: float | None = CONNECT_TIMEOUT_S


class Connector:
    """Opens connections to the server of a libpq URL, which may name several hosts.

    They are tried one by one, from the one that answered last: a server that was promoted
    is asked first from then on.
    """

    def __init__(
        self, database_url: str, *, answer_timeout_s: float | None, parameters: Mapping[str, Any]
    ) -> None:
        """Take the URL, and what its parameters are completed with.

        answer_timeout_s: how long a statement may take before the connection is given up;
        None for ever.
        Raises: psycopg2.ProgrammingError: when libpq cannot read the URL.
        """
        scheme, _, rest = database_url.partition("://")
        given = parse_dsn(f"{scheme.partition('+')[0]}://{rest}")  # the driver is SQLAlchemy's
        self._hosts = _hosts(given)
        self._parameters = {**parameters, **given}
        self._answer_timeout_s = answer_timeout_s
        self._last_good = 0

    def __call__(self) -> connection:
        """Connect. Raises: psycopg2.OperationalError: when no host takes the session."""
        set_wait_callback(_wait)
        refused: psycopg2.OperationalError | None = None
        for offset in range(len(self._hosts)):
            index = (self._last_good + offset) % len(self._hosts)
            try:
                opened = self._open(self._hosts[index])
            except psycopg2.OperationalError as error:
                refused = error
            else:
                self._last_good = index
                return opened
        raise refused or psycopg2.OperationalError("no host is named")

    def _open(self, host: Mapping[str, str]) -> connection:
        opened: Any = psycopg2.connect(
            **{**self._parameters, **host}, connection_factory=_Connection
        )
        opened.answer_timeout_s = self._answer_timeout_s
        return opened  # type: ignore[no-any-return]


def _hosts(given: Mapping[str, str]) -> list[dict[str, str]]:
    """The parameters that differ from host to host; a single port serves all of them."""
    listed = {
        name: given[name].split(",") for name in ("host", "hostaddr", "port") if name in given
    }
    count = max(map(len, listed.values()), default=1)
    return [
        {name: values[index] if len(values) > 1 else values[0] for name, values in listed.items()}
        for index in range(count)
    ]


def _wait(waiting: Any) -> None:
    """Wait until the server has answered. psycopg2 closes the connection when this raises."""
    timeout_s: float | None = getattr(waiting, "answer_timeout_s", None)
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    while (state := waiting.poll()) != POLL_OK:
        poller = select.poll()
        poller.register(waiting.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        left_ms = None if deadline_s is None else max(deadline_s - time.monotonic(), 0) * 1000
        if not poller.poll(left_ms):
            raise psycopg2.OperationalError(f"no answer within {timeout_s:g} s")
