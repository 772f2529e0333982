"""Our own three servers, with ports and passwords that are kept between runs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from stack.servers.home import Home
from stack.servers.kept_values import KeptValues
from stack.servers.ports import LOOPBACK, free_port, is_free
from stack.servers.postgres import Postgres
from stack.servers.valkey import BROKER_ROLE, CACHE_ROLE, Valkey


@dataclass(frozen=True)
class Servers:
    """The servers that a stack can start; one whose URL is given is not needed."""

    home: Home
    kept_values: KeptValues

    def postgres(self) -> Postgres:
        """Return the database server."""
        return Postgres(
            home=self.home,
            port=self._port("postgres"),
            password=self._password("postgres-app"),
            owner_password=self._password("postgres"),
            superuser_password=self._password("postgres-superuser"),
        )

    def broker(self) -> Valkey:
        """Return the Valkey that holds messages and the buffer."""
        return self._valkey("broker", BROKER_ROLE)

    def cache(self) -> Valkey:
        """Return the Valkey that may lose its data."""
        return self._valkey("cache", CACHE_ROLE)

    def _valkey(self, name: str, role: str) -> Valkey:
        return Valkey(
            name=name,
            role=role,
            home=self.home,
            port=self._port(name),
            password=self._password(name),
        )

    def _password(self, name: str) -> str:
        return self.kept_values.read_or_make(f"{name}-password", secrets.token_urlsafe)

    def _port(self, name: str) -> int:
        return kept_port(self.kept_values, name)


def kept_port(kept_values: KeptValues, name: str) -> int:
    """Return the port of the last run, or a new one if another program uses it now."""
    kept = kept_values.read(f"{name}-port")
    if kept is not None and is_free(LOOPBACK, int(kept)):
        return int(kept)
    port = free_port()
    kept_values.write(f"{name}-port", str(port))
    return port
