"""Failover: opens connections to one of several PostgreSQL hosts, with a limit on every wait.

Guarantees that a server which stops answering (frozen, or cut off from the network) costs a
bounded time: the server's own time-outs do not run while it is frozen, so this side has a
deadline as well. The first host that accepts the session is used; one that hangs is skipped.
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, connection, parse_dsn, set_wait_callback

from ledger.postgres.session import Session, SessionCursor, read_options, write_options

CONNECT_TIMEOUT_S = 2.0
"""For each host. libpq's own `connect_timeout` has no effect when a wait callback is set."""


_UNSUPPORTED = "unsupported startup parameter"
"""PgBouncer's words for what it does not pass on."""


class Connector:
    """Opens connections to the server of a libpq URL, which may name several hosts.

    They are tried one by one, starting with the one that was used last: after a failover, the
    new primary is tried first.
    """

    def __init__(
        self,
        database_url: str,
        *,
        answer_timeout_s: float | None,
        parameters: Mapping[str, Any],
        settings: Mapping[str, str],
        direct_settings: Mapping[str, str],
    ) -> None:
        """Read the URL.

        parameters: for libpq, where the URL does not set them.
        settings: of the server, for each session; the URL's `options` are kept beside them.
        direct_settings: the same, for a connection that no pooler is in the way of.
        answer_timeout_s: how long a statement may take before the connection is given up;
        None for no limit.
        Raises: psycopg2.ProgrammingError: when libpq cannot read the URL. ValueError: when its
        `options` are more than settings.
        """
        scheme, _, rest = database_url.partition("://")
        given = parse_dsn(f"{scheme.partition('+')[0]}://{rest}")  # the driver is SQLAlchemy's
        self._hosts = _hosts(given)
        self._settings = {**read_options(given.pop("options", "")), **settings}
        self._options = write_options({**self._settings, **direct_settings})
        self._parameters = {**parameters, **given}
        self._answer_timeout_s = answer_timeout_s
        self._last_good = 0

    def __call__(self) -> connection:
        """Connect. Raises: psycopg2.OperationalError: when no host takes the session."""
        set_wait_callback(_wait)
        last_error: psycopg2.OperationalError | None = None
        for offset in range(len(self._hosts)):
            index = (self._last_good + offset) % len(self._hosts)
            try:
                opened = self._open(self._hosts[index])
            except psycopg2.OperationalError as error:
                last_error = error
            else:
                self._last_good = index
                return opened
        raise last_error or psycopg2.OperationalError("no host is named")

    def _open(self, host: Mapping[str, str]) -> Session:
        try:
            opened = self._connect(host, self._options)
        except psycopg2.OperationalError as error:
            if not self._options or _UNSUPPORTED not in str(error):
                raise
            opened = self._connect(host, "")  # a pooler, which takes the settings later
            self._options = ""
        opened.answer_timeout_s = self._answer_timeout_s
        return opened

    def _connect(self, host: Mapping[str, str], options: str) -> Session:
        opened: Any = psycopg2.connect(
            **{**self._parameters, **host, "options": options},
            connection_factory=_New,
            cursor_factory=SessionCursor,
        )
        opened.begin_session(self._settings, has_settings=bool(options))
        return opened  # type: ignore[no-any-return]


class _New(Session):
    """A session that begins: each of its answers may take as long as a connection may."""

    answer_timeout_s = CONNECT_TIMEOUT_S


def _hosts(given: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the parameters of each host; a single port is used for all hosts."""
    listed = {
        name: given[name].split(",") for name in ("host", "hostaddr", "port") if name in given
    }
    count = max(map(len, listed.values()), default=1)
    return [
        {name: values[index] if len(values) > 1 else values[0] for name, values in listed.items()}
        for index in range(count)
    ]


def _wait(waiting: Any) -> None:
    """Wait until the server has answered. psycopg2 closes the connection if this raises."""
    timeout_s: float | None = getattr(waiting, "answer_timeout_s", None)
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    while (state := waiting.poll()) != POLL_OK:
        poller = select.poll()
        poller.register(waiting.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        left_ms = None if deadline_s is None else max(deadline_s - time.monotonic(), 0) * 1000
        if not poller.poll(left_ms):
            raise psycopg2.OperationalError(f"no answer within {timeout_s:g} s")
