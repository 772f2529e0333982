"""gunicorn's threaded worker: threads see whole requests only, errors are problems.

Guarantees that a connection takes a thread only from the moment its request has arrived whole
until the answer is made. Before and after, its bytes wait in memory, and one loop reads and
writes all connections as they are ready. So clients that send or read slowly hold no thread.
How long they may take, how many they are and how much memory they take are bounded. Requests
sent together are answered in their order. A request that is refused here (a malformed request
line, huge headers) is answered as a problem, like every other error, and the application learns
which headers were repeated.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.http import Request
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker

from api.gunicorn_connection import Connection, Phase, accepted
from api.gunicorn_request import refusal
from api.http.problems import Problem, internal_error, server_is_full
from api.process_state import process_state
from monitoring.logs import get_logger

log = get_logger(__name__)

_NO_CONNECTION = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED)
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STALLING = (Phase.ARRIVING, Phase.UNSENT)


class BoundedThreadWorker(ThreadWorker):
    """Serves whole requests in threads; waits for clients in one loop."""

    request_limit_s = 30.0
    """How long a request may take to arrive, from its first byte. This is enough for a body of
    4 MiB at 150 KiB/s."""
    anonymous_limit_s = 5.0
    """The same from the end of the head, for a request that names no key."""
    silence_limit_s = 15.0
    """How long a new connection may send nothing. One that had an answer may wait longer."""
    answer_limit_s = 30.0
    """How long a client may take to read an answer."""
    ending_limit_s = 2.0
    ending_limit_bytes = 16 * 1024 * 1024
    """How long, and how much, a client may go on sending after its last answer. A connection
    that is closed while its client sends is reset, and the answer on its way is lost."""
    sweep_every_s = 0.5
    """How often connections are looked at, whether their time is over."""
    memory_limit_bytes = 64 * 1024 * 1024
    """How much memory unfinished requests, bodies and unread answers may take together."""
    large_body_bytes = 64 * 1024
    large_at_once = 2
    """How many requests with a larger body are served at once. Parsed, a body takes up to
    twenty times its size; the memory of a container is made for these."""

    def init_process(self) -> None:
        """Prepare the process, after the fork."""
        # Else gunicorn calls functions for each of some twenty settings that a request needs.
        vars(self.cfg).update({name: each.get() for name, each in self.cfg.settings.items()})
        # Both in the order in which their connections began to wait.
        self._quiet: dict[Connection, None] = {}
        self._stalling: dict[Connection, None] = {}
        self._held_bytes = 0
        self._given_up = 0
        self._swept_at_s = self._notified_at_s = float("-inf")
        self._answered: deque[tuple[Connection, bool]] = deque()  # and whether it may go on
        self._large: deque[Connection] = deque()  # those that wait for others to be answered
        self._large_served = 0
        self._limits_s = {
            Phase.NEW: self.silence_limit_s,
            Phase.IDLE: self.cfg.keepalive,
            Phase.ARRIVING: self.request_limit_s,
            Phase.UNSENT: self.answer_limit_s,
            Phase.ENDING: self.ending_limit_s,
        }
        super().init_process()

    # --- The loop: each method below runs in the main thread, and none of them waits. ---

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection. Where there is no room for it, the quietest one ends."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:  # the process or the machine has no more files
                self._make_room()
            elif error.errno not in _NO_CONNECTION:
                raise
            return
        self.nr_conns += 1
        self._enter(accepted(self.cfg, sock, client, listener.getsockname()), Phase.NEW)
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def _make_room(self) -> None:
        """End the connection that has waited longest: first of those that send nothing."""
        for waiting in (self._quiet, self._stalling):
            if waiting:
                self._give_up(next(iter(waiting)))
                return

    def _on_ready(self, conn: Connection, _sock: socket.socket) -> None:
        """Read from a connection or write to it, and do what is next."""
        if not conn.events:  # it was closed for the sake of another in the same turn of the loop
            return
        if conn.phase is Phase.SERVED:
            self._watch(conn, 0)  # what comes before the answer, as it seldom does, has to wait
            self._finish_answered()  # its thread may not have seen that, if it has just ended
            return
        is_over = False
        try:
            if conn.phase is Phase.UNSENT:
                conn.send()
            else:
                is_over = not conn.receive()
        except BlockingIOError:
            return
        except OSError:  # the client has gone
            self._close(conn)
            return
        self._go_on(conn, is_over=is_over)
        self._bound_memory()

    def _go_on(self, conn: Connection, *, is_over: bool = False) -> None:
        """Bring a connection into the phase that its bytes call for. is_over: no more will come."""
        if conn.endpoint.sock.unsent:
            self._enter(conn, Phase.UNSENT)
        elif conn.is_last:
            self._end(conn, is_over=is_over)
        else:
            self._take_request(conn, is_over=is_over)
        self._count(conn)

    def _take_request(self, conn: Connection, *, is_over: bool) -> None:
        reader = conn.reader
        try:
            request = reader.take()
        except ParseException as error:
            # The error's text quotes the request, which may hold a key: log only its type.
            self._refuse(conn, refusal(error), error=type(error).__name__)
            return
        if request is None and is_over and reader.awaits_body:
            request = reader.cut()
        if request is not None:
            self._serve(conn, request)
        elif is_over:
            self._close(conn)
        elif reader.is_begun:
            self._await_rest(conn)
        elif conn.phase is not Phase.NEW:
            self._enter(conn, Phase.IDLE)

    def _await_rest(self, conn: Connection) -> None:
        self._enter(conn, Phase.ARRIVING)
        if conn.reader.awaits_anonymous_body:
            conn.deadline_s = min(conn.deadline_s, conn.since_s + self.anonymous_limit_s)
        if conn.reader.is_continue_due():
            with suppress(OSError):  # the client is gone, or reads nothing
                conn.sock.send(_CONTINUE)

    def _serve(self, conn: Connection, request: Request) -> None:
        """Hand a request to the threads. It queues behind the requests of others."""
        conn.request = request
        conn.is_large = conn.reader.taken_bytes > self.large_body_bytes
        self._enter(conn, Phase.SERVED)
        if conn.is_large:
            self._large.append(conn)
            self._serve_large()
        else:
            self.tpool.submit(self._answer, conn)

    def _serve_large(self) -> None:
        """Hand large requests to the threads, a few at a time. The others wait without one."""
        while self._large and self._large_served < self.large_at_once:
            self._large_served += 1
            self.tpool.submit(self._answer, self._large.popleft())

    def _finish_answered(self) -> None:
        """Go on with the connections whose answers are made."""
        for _ in range(len(self._answered)):  # requests sent together are answered meanwhile
            conn, is_kept = self._answered.popleft()
            if conn.is_large:
                self._large_served -= 1
                self._serve_large()
            conn.request = None
            conn.reader.release()
            if not is_kept:
                conn.is_last = True
                conn.reader.drop()
            self._go_on(conn)
            self._bound_memory()

    def _end(self, conn: Connection, *, is_over: bool) -> None:
        """Say that no more comes, and wait until the client has seen it."""
        if conn.phase is not Phase.ENDING:
            with suppress(OSError):  # it has closed already
                conn.sock.shutdown(socket.SHUT_WR)
            self._enter(conn, Phase.ENDING)
        elif is_over or conn.dropped_bytes > self.ending_limit_bytes:
            self._close(conn)

    def _refuse(self, conn: Connection, problem: Problem, *, error: str) -> None:
        """Answer without a thread, and end the connection."""
        request_id = os.urandom(16).hex()
        log.warning("request_refused", error=error, request_id=request_id)
        conn.answer_raw(problem, request_id=request_id)
        try:
            conn.send()
        except OSError:
            self._close(conn)
        else:
            self._go_on(conn)

    def _give_up(self, conn: Connection) -> None:
        """End a connection for the sake of others. A request that has begun is answered."""
        self._given_up += 1
        if conn.phase is Phase.ARRIVING:
            self._refuse(conn, server_is_full(), error="server_is_full")
        else:
            self._close(conn)

    def _enter(self, conn: Connection, phase: Phase) -> None:
        """Let a connection wait for something else than before."""
        if conn.phase is phase and conn.events:
            return
        self._leave(conn)
        conn.phase = phase
        conn.since_s = time.monotonic()
        if phase is Phase.SERVED:
            self._watch(conn, selectors.EVENT_READ)
            return
        conn.deadline_s = conn.since_s + self._limits_s[phase]
        (self._stalling if phase in _STALLING else self._quiet)[conn] = None
        is_writing = phase is Phase.UNSENT
        self._watch(conn, selectors.EVENT_WRITE if is_writing else selectors.EVENT_READ)

    def _leave(self, conn: Connection) -> None:
        self._quiet.pop(conn, None)
        self._stalling.pop(conn, None)

    def _watch(self, conn: Connection, events: int) -> None:
        if conn.events == events:
            return
        if conn.events and events:
            self.poller.modify(conn.sock, events, partial(self._on_ready, conn))
        elif events:
            self.poller.register(conn.sock, events, partial(self._on_ready, conn))
        else:
            self.poller.unregister(conn.sock)
        conn.events = events

    def _count(self, conn: Connection) -> None:
        """Count the memory of a connection."""
        held_bytes = conn.held_bytes if conn.sock.fileno() >= 0 else 0
        self._held_bytes += held_bytes - conn.counted_bytes
        conn.counted_bytes = held_bytes

    def _bound_memory(self) -> None:
        """Above the limit, end what has stalled longest. The requests of others come and go."""
        while self._held_bytes > self.memory_limit_bytes and self._stalling:
            self._give_up(next(iter(self._stalling)))

    def _close(self, conn: Connection) -> None:
        if conn.sock.fileno() < 0:
            return
        self._leave(conn)
        self._watch(conn, 0)
        conn.sock.close()
        self.nr_conns -= 1
        self._count(conn)

    def murder_pending(self) -> None:
        """End connections whose time is over. gunicorn calls this after each turn of the loop."""
        now_s = time.monotonic()
        # To look at all connections each time would make every request slower, the more there are.
        if now_s - self._swept_at_s < self.sweep_every_s and self.alive:
            return
        self._swept_at_s = now_s
        if self._given_up:
            log.warning("connections_given_up", connections=self._given_up)
            self._given_up = 0
        for conn in (*self._quiet, *self._stalling):
            is_idle = conn.phase in (Phase.NEW, Phase.IDLE)
            if conn.deadline_s > now_s and (self.alive or not is_idle):
                continue
            if conn.phase is Phase.ARRIVING and conn.reader.awaits_body:
                # The application refuses half a body, or the lack of a key.
                self._serve(conn, conn.reader.cut())
            else:
                self._close(conn)

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        """Wait for events, a second at most: gunicorn waits longer when it is about to end."""
        events = self.poller.select(min(timeout or 0, 1.0))
        self._finish_answered()  # the next request may be here already
        for key, _ in events:
            key.data(key.fileobj)

    def notify(self) -> None:
        """Tell gunicorn that the loop turns. It wants to know once in 30 seconds."""
        if time.monotonic() - self._notified_at_s >= self.sweep_every_s:
            self._notified_at_s = time.monotonic()
            super().notify()

    # --- In a thread. ---

    def _answer(self, conn: Connection) -> None:
        """Answer a request, and wake the loop only if it has something to do about it now.

        Otherwise it learns of the answer when the next request comes, or within a second.
        """
        is_kept = False
        try:
            is_kept = self.handle(conn)
        finally:
            self._answered.append((conn, is_kept))
            is_waiting = conn.events and not (conn.endpoint.sock.unsent or conn.reader.arrived)
            if not (is_kept and is_waiting and self.alive) or conn.is_large:
                self.method_queue.defer(self._finish_answered)

    def handle(self, conn: Any) -> bool:
        """Answer a request. Returns: whether the connection may carry another one."""
        try:
            is_kept = self.handle_request(conn.request, conn.endpoint)
        except Exception as error:
            request_id = os.urandom(16).hex()
            if not isinstance(error, StopIteration):  # which gunicorn has logged
                log.error("connection_failed", exc_info=error, request_id=request_id)
            conn.answer_raw(internal_error(), request_id=request_id)
            is_kept = False
        with suppress(OSError):  # the client has gone, as the loop will find
            conn.send()
        return is_kept

    def handle_request(self, req: Request, conn: Any) -> bool:
        """Serve a request, and say whether the process is about to end."""
        process_state.is_stopping = not self.alive
        return super().handle_request(req, conn)
