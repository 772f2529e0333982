"""HTTP client of our own API for the demo: standard library, no proxy, no retries."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

_TIMEOUT_S = 30.0


class ApiError(RuntimeError):
    """The API answered with an error; the message has its status, code and detail."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status} {body.get('code', '')}: {body.get('detail', body)}")
        self.status = status


@dataclass(frozen=True)
class Api:
    """The API, called with one client's key."""

    host: str
    port: int
    key: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def get(self, path: str) -> dict[str, Any]:
        """Return the body of the answer. Raises: ApiError: when it is an error."""
        return self._call("GET", path, None, {})

    def post(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Return the body of the answer. Raises: ApiError: when it is an error."""
        return self._call("POST", path, json.dumps(body), headers)

    def knows_key(self) -> bool:
        """Return whether the key belongs to a client. Raises: ApiError: when that is unknown."""
        try:
            self.get("/v1/wallets?limit=1")
        except ApiError as error:
            if error.status == http.client.UNAUTHORIZED:
                return False
            raise
        return True

    def probe(self) -> None:
        """Check that the API runs. Raises: ConnectionError: when it does not answer (yet)."""
        try:
            self.get("/health/live")
        except (OSError, http.client.HTTPException, ApiError) as error:
            raise ConnectionError(str(error)) from error

    @property
    def name(self) -> str:
        return "the API"

    def _call(
        self, method: str, path: str, body: str | None, headers: dict[str, str]
    ) -> dict[str, Any]:
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise ApiError(response.status, answer)
        return answer
