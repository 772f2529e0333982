"""HTTP by httpx2: what both drivers need to send a request and to read its answer."""

from __future__ import annotations

import time

import httpx2

from truepenny.protocol.actions import HttpAnswer, Send, SendFailure
from truepenny.version import __version__

CONNECT_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
HEADERS = {"User-Agent": f"truepenny-python/{__version__}", "Accept": "application/json"}
NEVER_LEFT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""Errors before a connection was made: the request cannot have arrived."""


def new_client() -> httpx2.Client:
    """Return new connections. Redirects are not followed: another server would get the request."""
    return httpx2.Client(headers=HEADERS, follow_redirects=False)


def new_async_client() -> httpx2.AsyncClient:
    """Return new connections, as `new_client`."""
    return httpx2.AsyncClient(headers=HEADERS, follow_redirects=False)


class AnswerTooLarge(httpx2.RequestError):
    """An answer has more bytes than any of the API's."""


class TimeLeft(dict[str, float]):
    """The time-outs of one request, of which each phase gets what the earlier ones have left."""

    def __init__(self, seconds: float) -> None:
        super().__init__(dict.fromkeys(("connect", "pool", "write", "read"), seconds))
        self._ends_s = time.monotonic() + seconds

    def get(self, phase: str, _default: object = None) -> float:
        """Return what is left for a phase."""
        left_s = max(self._ends_s - time.monotonic(), 0.001)
        return min(left_s, CONNECT_S) if phase == "connect" else left_s

    def require(self, received: int) -> None:
        """Raises: RequestError: when the time is over, or the answer is too large."""
        if time.monotonic() > self._ends_s:
            raise httpx2.ReadTimeout("the answer did not end in time")
        if received > MAX_ANSWER_BYTES:
            raise AnswerTooLarge("the answer is too large")


def request(
    client: httpx2.Client | httpx2.AsyncClient, base_url: str, send: Send
) -> httpx2.Request:
    """Return the request of a plan, with its time-outs."""
    return client.build_request(
        send.method,
        base_url + send.path,
        headers={name.encode(): value for name, value in send.headers.items()},
        content=send.body,
        extensions={"timeout": TimeLeft(send.timeout_s)},
    )


def answer(response: httpx2.Response, body: bytes) -> HttpAnswer:
    """Return an answer for a plan."""
    return HttpAnswer(response.status_code, dict(response.headers), body)


def failure(error: Exception) -> SendFailure:
    """Return what an error of httpx2 says about a request."""
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return SendFailure(reason, has_left=not isinstance(error, NEVER_LEFT))
