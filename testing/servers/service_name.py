"""Service name: one address that leads to a server, and can be moved to another one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from stack.servers.ports import LOOPBACK

_READ_BYTES = 65536


class ServiceName:
    """An address on loopback. Connections that are open stay where they are when it moves."""

    def __init__(self, listening: socket.socket, port: int) -> None:
        self._listening = listening
        self._target = port
        self._open: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []
        self.port: int = listening.getsockname()[1]

    def move_to(self, port: int) -> None:
        """Lead new connections to this port of loopback."""
        self._target = port

    def serve(self) -> None:
        """Accept connections until the socket is closed."""
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection((LOOPBACK, self._target), timeout=5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                self._open += [client, server]
                for pair in ((client, server), (server, client)):
                    self._pumps.append(threading.Thread(target=_pump, args=pair, daemon=True))
                    self._pumps[-1].start()

    def close(self) -> None:
        """Close all connections."""
        _end(self._open)
        for pump in self._pumps:
            pump.join(5)
        for each in self._open:
            each.close()


@contextmanager
def service_name(port: int) -> Iterator[ServiceName]:
    """Lead an address of its own to this port of loopback."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        service = ServiceName(listening, port)
        thread = threading.Thread(target=service.serve, daemon=True)
        thread.start()
        yield service
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        service.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_READ_BYTES):
            target.sendall(data)
    _end((source, target))


def _end(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
