"""Worker connections: the loop of the API's gunicorn worker counts them right, and looks seldom."""

from __future__ import annotations

import select
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from api.gunicorn_connection import Phase
from api.gunicorn_worker import BoundedThreadWorker
from testing.worker_processes import eventually

LIMIT = 3


@pytest.fixture
def worker() -> Iterator[BoundedThreadWorker]:
    """A worker that listens, without its threads; the test turns its loop."""
    config = Config()
    config.set("worker_connections", LIMIT)
    without: Any = None  # the application, which only threads call
    worker = BoundedThreadWorker(1, 0, [], without, 30, config, Logger(config))
    worker._quiet, worker._stalling, worker._large = {}, {}, deque()
    worker._held_bytes = worker._given_up = worker._large_served = 0
    worker._swept_at_s = worker._notified_at_s = float("-inf")
    worker._answered = deque()
    worker._limits_s = dict.fromkeys(Phase, 30.0)
    worker.poller = selectors.DefaultSelector()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        worker.poller.register(listener, selectors.EVENT_READ, worker.accept)
        yield worker
        for connection in list(worker._quiet):
            worker._close(connection)
        worker.poller.close()
        worker.tmp.close()


def is_open(worker: BoundedThreadWorker) -> int:
    return len(worker.poller.get_map()) - 1


def address_of(worker: BoundedThreadWorker) -> tuple[str, int]:
    [listener] = [key.fileobj for key in worker.poller.get_map().values()]
    assert isinstance(listener, socket.socket)
    address: tuple[str, int] = listener.getsockname()
    return address


def test_connections_are_not_looked_at_after_each_turn_of_the_loop(
    worker: BoundedThreadWorker,
) -> None:
    worker._limits_s = dict.fromkeys(Phase, 0.0)
    address = address_of(worker)
    worker.murder_pending()
    with socket.create_connection(address):
        worker.wait_for_and_dispatch_events(1.0)
        worker.murder_pending()
        assert is_open(worker) == 1
        worker._swept_at_s -= worker.sweep_every_s
        worker.murder_pending()
        assert is_open(worker) == 0


def test_a_connection_that_is_closed_in_the_turn_in_which_it_sends_is_counted_once(
    worker: BoundedThreadWorker,
) -> None:
    address = address_of(worker)
    clients = [socket.create_connection(address) for _ in range(LIMIT - 1)]
    for _ in clients:
        worker.wait_for_and_dispatch_events(1.0)
    for _ in range(20):
        oldest = next(iter(worker._quiet)).sock.getpeername()
        [victim] = [each for each in clients if each.getsockname() == oldest]
        clients.append(socket.create_connection(address))
        victim.send(b"\r\n")
        worker.wait_for_and_dispatch_events(1.0)
        assert worker.nr_conns == is_open(worker) < LIMIT
    for client in clients:
        client.close()


REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "sent_meanwhile", "is_woken"),
    [(REQUEST, b"", False), (REQUEST * 2, b"", True), (REQUEST, REQUEST, True)],
    ids=["one request", "two together", "a second one before the answer"],
)
def test_an_answer_wakes_the_loop_only_if_there_is_something_to_do(
    worker: BoundedThreadWorker, sent: bytes, sent_meanwhile: bytes, *, is_woken: bool
) -> None:
    may_answer = threading.Event()

    def application(_: Any, start_response: Callable[..., Any]) -> list[bytes]:
        may_answer.wait(10)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    worker.wsgi = application
    worker.method_queue.init()
    worker.tpool = ThreadPoolExecutor(1)
    with worker.tpool, socket.create_connection(address_of(worker)) as client:
        worker.wait_for_and_dispatch_events(1.0)
        [connection] = worker._quiet

        def is_after_a_turn(phase: Phase) -> bool:
            worker.wait_for_and_dispatch_events(0.1)
            return connection.phase is phase

        client.sendall(sent)
        assert is_after_a_turn(Phase.SERVED)
        client.sendall(sent_meanwhile)
        assert is_after_a_turn(Phase.SERVED)
        may_answer.set()
        eventually(lambda: worker._answered)
        pipe = worker.method_queue.fileno() or 0
        woken, _, _ = select.select([pipe], [], [], 0.5)
        assert bool(woken) is is_woken
        answers = bytearray()

        def are_all_here() -> bool:
            is_idle = is_after_a_turn(Phase.IDLE)
            answers.extend(client.recv(1000) if select.select([client], [], [], 0)[0] else b"")
            return is_idle and answers.count(b"\r\n\r\nok") == 1 + is_woken

        eventually(are_all_here)
    worker.method_queue.close()
