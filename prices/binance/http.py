"""GET requests that end: within a total time and a size, whatever the other side does.

`requests` bounds each wait for bytes, not their sum: a server that sends a byte a second could
hold a worker for ever, and so could a slow name server. So the request runs in a thread of its
own, and when the time is over its connection is cut, which ends that thread too.

Each request has a connection of its own. One every two seconds gains nothing from being kept,
and a kept one may be half dead.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from resilience.single_flight import Flight, NoThread, start_flight

TIMEOUT_S = 2.0
"""For the connection, and for each wait for bytes."""
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # what is not packed cannot unpack into gigabytes
    "Connection": "close",
    "User-Agent": "truepenny",
}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswerError(Exception):
    """No usable answer came; the message says in a few words of ours why."""


class BoundedGetter:
    """Sends one request at a time. Not to be shared by threads."""

    def __init__(self) -> None:
        self._flight: Flight[HttpAnswer] | None = None

    def get(
        self, url: str, parameters: Mapping[str, str], *, within_s: float, max_bytes: int
    ) -> HttpAnswer:
        """Ask. Redirects are answers, not followed.

        Raises: NoAnswerError: when no whole answer of at most `max_bytes` came `within_s`.
        """
        if self._flight is not None and not self._flight.done():
            # Cut off already, so it can only be waiting for a name server.
            raise NoAnswerError("an earlier request still hangs")
        wire = _Wire()
        request = partial(_get, url, parameters, max_bytes=max_bytes, wire=wire)
        try:
            self._flight = start_flight(request, name="prices-http")
            answer = self._flight.result(within_s)
        except NoThread as error:
            raise NoAnswerError("not asked: no thread could be had") from error
        except TimeoutError as error:
            raise NoAnswerError("not complete in time") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise NoAnswerError(type(error).__name__) from error
        finally:
            wire.cut()
        if len(answer.body) > max_bytes:
            raise NoAnswerError(f"more than {max_bytes} bytes")
        return answer


def _get(url: str, parameters: Mapping[str, str], *, max_bytes: int, wire: _Wire) -> HttpAnswer:
    with requests.Session() as session:
        session.trust_env = False  # neither a proxy nor a password that lies around
        for scheme in ("http://", "https://"):
            session.mount(scheme, _CuttableAdapter(wire))
        with session.get(
            url,
            params=parameters,
            headers=_HEADERS,
            timeout=(TIMEOUT_S, TIMEOUT_S),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = response.raw.read(max_bytes + 1, decode_content=False)
            return HttpAnswer(response.status_code, response.headers, body)


class _Wire:
    """The connection of one request, which another thread may cut at any moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_cut = False
        self._twins: list[socket.socket] = []

    def watch(self, connected: socket.socket) -> None:
        """Remember a connection. A twin, since TLS takes the original apart."""
        with self._lock:
            self._twins.append(connected.dup())
            if self._is_cut:
                self._close()

    def cut(self) -> None:
        """End the connection, and each that is still made. A second call is harmless."""
        with self._lock:
            self._is_cut = True
            self._close()

    def _close(self) -> None:
        for twin in self._twins:
            with suppress(OSError):  # the other side may have been quicker
                twin.shutdown(socket.SHUT_RDWR)
            twin.close()
        self._twins.clear()


class _CuttableAdapter(HTTPAdapter):
    """Makes connections that a wire watches."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._wire)


def _pool_classes(wire: _Wire) -> dict[str, type[HTTPConnectionPool]]:
    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            connected = super()._new_conn()
            wire.watch(connected)
            return connected

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            connected = super()._new_conn()
            wire.watch(connected)
            return connected

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}
