"""Bounded GET requests: limited in total time and size, whatever the server does.

`requests` limits each wait for bytes, not their sum: a server that sends a byte a second could
block a worker without end, and so could a slow name server. So the request runs in its own
thread. When the time is over its connection is closed, which ends that thread too.

Each request opens its own connection. With one request every two seconds, keeping a connection
gains nothing, and a kept one may be broken.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from resilience.single_flight import Flight, NoThread, start_flight

TIMEOUT_S = 2.0
"""For connecting, and for each wait for bytes."""
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # a small compressed body could unpack to gigabytes
    "Connection": "close",
    "User-Agent": "truepenny",
}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer, with any status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswerError(Exception):
    """There is no usable answer; the message is a short reason in our own words."""


class BoundedGetter:
    """Sends one request at a time. Threads must not share it."""

    def __init__(self) -> None:
        self._flight: Flight[HttpAnswer] | None = None

    def get(
        self, url: str, parameters: Mapping[str, str], *, within_s: float, max_bytes: int
    ) -> HttpAnswer:
        """Send a request. Redirects are returned, not followed.

        Raises: NoAnswerError: when there is no complete answer of `max_bytes` within `within_s`.
        """
        if self._flight is not None and not self._flight.done():
            # Its connection is closed, so it can only be waiting for a name server.
            raise NoAnswerError("an earlier request is still running")
        connections = _Connections()
        request = partial(_get, url, parameters, max_bytes=max_bytes, connections=connections)
        try:
            self._flight = start_flight(request, name="prices-http")
            answer = self._flight.result(within_s)
        except NoThread as error:
            raise NoAnswerError("not asked: no thread could be started") from error
        except TimeoutError as error:
            raise NoAnswerError("not complete in time") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise NoAnswerError(type(error).__name__) from error
        finally:
            connections.close()
        if len(answer.body) > max_bytes:
            raise NoAnswerError(f"more than {max_bytes} bytes")
        return answer


def _get(
    url: str, parameters: Mapping[str, str], *, max_bytes: int, connections: _Connections
) -> HttpAnswer:
    with requests.Session() as session:
        session.trust_env = False  # no .netrc of the environment
        for scheme in ("http://", "https://"):
            session.mount(scheme, _ClosableAdapter(connections))
        with session.get(
            url,
            params=parameters,
            headers=_HEADERS,
            timeout=(TIMEOUT_S, TIMEOUT_S),
            allow_redirects=False,
            stream=True,
            proxies=_proxies(url),
        ) as response:
            body = response.raw.read(max_bytes + 1, decode_content=False)
            return HttpAnswer(response.status_code, response.headers, body)


def _proxies(url: str) -> dict[str, str]:
    """Return the proxies in HTTPS_PROXY and HTTP_PROXY, but for this machine and NO_PROXY."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1":
        return {}
    return requests.utils.get_environ_proxies(url)


class _Connections:
    """The connections of one request, which another thread may close at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._sockets: list[socket.socket] = []

    def add(self, connected: socket.socket) -> None:
        """Keep a duplicate of a connection: TLS detaches the original socket."""
        with self._lock:
            self._sockets.append(connected.dup())
            if self._is_closed:
                self._close_all()

    def close(self) -> None:
        """Close all connections, also those that are added later. A second call is harmless."""
        with self._lock:
            self._is_closed = True
            self._close_all()

    def _close_all(self) -> None:
        for duplicate in self._sockets:
            with suppress(OSError):  # the server may have closed it already
                duplicate.shutdown(socket.SHUT_RDWR)
            duplicate.close()
        self._sockets.clear()


class _ClosableAdapter(HTTPAdapter):
    """Opens connections that can be closed from another thread."""

    def __init__(self, connections: _Connections) -> None:
        self._connections = connections
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._connections)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _pool_classes(self._connections)
        return manager


def _pool_classes(connections: _Connections) -> dict[str, type[HTTPConnectionPool]]:
    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            connected = super()._new_conn()
            connections.add(connected)
            return connected

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            connected = super()._new_conn()
            connections.add(connected)
            return connected

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}
