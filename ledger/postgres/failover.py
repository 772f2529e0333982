"""Failover: opens connections to one of several PostgreSQL hosts, with a limit on every wait.

Guarantees that a server which stops answering (frozen, or cut off from the network) costs a
bounded time: the server's own time-outs do not run while it is frozen, so this side has a
deadline as well. And that no session begins on a server that another one has replaced, as far as
that is known here (`ledger.postgres.succession`).
"""

from __future__ import annotations

import select
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, cast

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, parse_dsn, set_wait_callback

from ledger.errors import LedgerError, Replaced, Unaccepted, Unreachable
from ledger.postgres.session import Look, Session, SessionCursor, read_options, write_options
from ledger.postgres.succession import Primary, succession_of

CONNECT_TIMEOUT_S = 2.0
"""For each host. libpq's own `connect_timeout` has no effect when a wait callback is set."""

_SLOW_S: Final = 0.5
_ASK_SLOW_EVERY_S: Final = 10.0
_UNSUPPORTED = "unsupported startup parameter"
"""PgBouncer's words for what it does not pass on."""
_SAID_FIRST: Final[Mapping[type, int]] = {Unaccepted: 0, Replaced: 1, Unreachable: 2}


class Connector:
    """Opens connections to the server of a libpq URL, which may name several hosts.

    They are tried one by one, starting with the newest primary. The first one that takes the
    session is used; of several, it must take writes.
    """

    def __init__(
        self,
        database_url: str,
        *,
        answer_timeout_s: float | None,
        parameters: Mapping[str, Any],
        settings: Mapping[str, str],
        direct_settings: Mapping[str, str],
        accepts_any_server: bool = False,
    ) -> None:
        """Read the URL.

        parameters: for libpq, where the URL does not set them.
        settings: of the server, for each session; the URL's `options` are kept beside them.
        direct_settings: the same, for a connection that no pooler is in the way of.
        answer_timeout_s: how long a statement may take before the connection is given up;
        None for no limit.
        accepts_any_server: connect also where an operator has yet to accept the server.
        Raises: psycopg2.ProgrammingError: when libpq cannot read the URL. ValueError: when its
        `options` are more than settings.
        """
        given = read_url(database_url)
        self._hosts = _hosts(given)
        self._settings = {**read_options(given.pop("options", "")), **settings}
        self._options = write_options({**self._settings, **direct_settings})
        self._parameters = {**parameters, **given}
        self._answer_timeout_s = answer_timeout_s
        self._accepts_any_server = accepts_any_server
        self._ask_at_s = [0.0] * len(self._hosts)
        self.succession = succession_of(database_url)

    def __call__(self) -> Session:
        """Connect.

        Raises: psycopg2.OperationalError, Unreachable: when no host can be used.
        """
        set_wait_callback(_wait)
        if not self.succession.is_surveyed:
            self.succession.note_survey()
            self._survey()
        errors: list[psycopg2.OperationalError | LedgerError] = []
        first = self.succession.host
        for offset in range(len(self._hosts)):
            index = (first + offset) % len(self._hosts)
            try:
                opened = self._open(index)
            except (psycopg2.OperationalError, LedgerError) as error:
                errors.append(error)
            else:
                self.succession.prefer(index)
                return opened
        # What an operator must know comes before that another host does not answer.
        raise min(errors, key=lambda error: _SAID_FIRST.get(type(error), len(_SAID_FIRST)))

    def leave(self, session: Session) -> None:
        """Try another host first from now on, because this one's server has failed a probe."""
        if self.succession.host == session.host:
            self.succession.prefer((session.host + 1) % len(self._hosts))

    def judge(self, session: Session, look: Look) -> None:
        """Learn from what a server says of itself.

        Raises: Replaced: when another server has replaced it. Unaccepted: when an operator has to
        accept it first. Unreachable: when it takes no writes.
        """
        if look.is_read_only or look.timeline is None:
            raise Unreachable("The database takes no writes: it is a standby, or read-only.")
        session.primary = self._identify(session, look.system, look.timeline)
        self.succession.require_newest(session.primary)
        self.succession.learn(session.primary, host=session.host)

    def ask_another(self, session: Session) -> None:
        """Ask one of the other hosts, each in turn, whether it has a newer primary.

        A host that keeps us waiting is asked more rarely.
        """
        now_s = time.monotonic()
        others = [index for index in range(len(self._hosts)) if index != session.host]
        due = [index for index in others if self._ask_at_s[index] <= now_s]
        if due:
            index = min(due, key=self._ask_at_s.__getitem__)
            self._ask(index)
            now_s, begun_s = time.monotonic(), now_s
            is_slow = now_s - begun_s > _SLOW_S
            self._ask_at_s[index] = now_s + (_ASK_SLOW_EVERY_S if is_slow else 0)

    def _survey(self) -> None:
        """Ask all hosts, before the first connection: the old primary may come first in the URL."""
        if len(self._hosts) > 1:
            for index in range(len(self._hosts)):
                self._ask(index)

    def _ask(self, index: int) -> None:
        with suppress(psycopg2.OperationalError, LedgerError):
            self._open(index).close()

    def _identify(self, session: Session, system: int, timeline: int) -> Primary:
        # Asked each time: a copy that was restored, and accepted, has the same timeline.
        accepted = session.accepted_server()
        if accepted is None:
            return Primary(system, timeline)
        its_system, its_timeline, accepted_at_us = accepted
        is_ours = its_system == str(system) and its_timeline <= timeline
        if not (is_ours or self._accepts_any_server):
            raise Unaccepted
        return Primary(system, timeline, accepted_at_us)

    def _open(self, index: int) -> Session:
        try:
            opened = self._connect(index, self._options)
        except psycopg2.OperationalError as error:
            if not self._options or _UNSUPPORTED not in str(error):
                raise
            opened = self._connect(index, "")  # a pooler, which takes the settings later
            self._options = ""
        opened.answer_timeout_s = self._answer_timeout_s
        return opened

    def _connect(self, index: int, options: str) -> Session:
        opened: Any = psycopg2.connect(
            **{**self._parameters, **self._hosts[index], "options": options},
            connection_factory=_New,
            cursor_factory=SessionCursor,
        )
        opened.host, opened.opened_by = index, self
        try:
            self.judge(opened, opened.begin_session(self._settings, has_settings=bool(options)))
        except BaseException:
            opened.close()
            raise
        return cast(Session, opened)


def read_url(database_url: str) -> dict[str, str]:
    """Return the parameters in a libpq URL.

    Raises: psycopg2.ProgrammingError: when libpq cannot read it.
    """
    scheme, _, rest = database_url.partition("://")
    given: dict[str, str] = parse_dsn(f"{scheme.partition('+')[0]}://{rest}")
    return given  # the driver, which is SQLAlchemy's, is no part of it


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
    if timeout_s is not None:
        timeout_s *= getattr(waiting, "answers", 1)
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    while (state := waiting.poll()) != POLL_OK:
        poller = select.poll()
        poller.register(waiting.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        left_ms = None if deadline_s is None else max(deadline_s - time.monotonic(), 0) * 1000
        if not poller.poll(left_ms):
            raise psycopg2.OperationalError(f"no answer within {timeout_s:g} s")
