"""External servers, which are given by URL: probed, never started or stopped.

The clients of brokers and caches are loaded with the first probe: they cost `make up` 20 MB as
long as it runs, which has no use for them with servers of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psycopg2

from stack.errors import StackError

_TIMEOUT_S = 3
_BETWEEN_URLS = re.compile(r";(?=[a-z]+://)")


@dataclass(frozen=True)
class GivenDatabase:
    """The PostgreSQL of DATABASE_URL."""

    url: str = field(repr=False)
    name: str = "DATABASE_URL"
    kind: str = "PostgreSQL"

    def probe(self) -> None:
        """Connect. Raises: ConnectionError: when that fails."""
        scheme, _, rest = self.url.partition("://")
        url = f"{scheme.partition('+')[0]}://{rest}"  # SQLAlchemy's URLs may name a driver
        with _readable(self.name):
            try:
                psycopg2.connect(url, connect_timeout=_TIMEOUT_S).close()
            except psycopg2.OperationalError as error:
                raise ConnectionError(str(error)) from error


@dataclass(frozen=True)
class GivenBroker:
    """The Redis or RabbitMQ of BROKER_URL."""

    url: str = field(repr=False)
    name: str = "BROKER_URL"
    kind: str = "broker"

    def probe(self) -> None:
        """Connect. Raises: ConnectionError: when that fails."""
        import kombu
        import kombu.exceptions

        from monitoring.health import amqp_tls

        amqp_tls.install()
        with (
            _readable(self.name),
            kombu.Connection(self.url, connect_timeout=_TIMEOUT_S) as connection,
        ):
            try:
                connection.ensure_connection(max_retries=1, timeout=_TIMEOUT_S)
            except kombu.exceptions.OperationalError as error:
                raise ConnectionError(str(error)) from error


@dataclass(frozen=True)
class GivenCache:
    """The Redis of CACHE_URL."""

    url: str = field(repr=False)
    name: str = "CACHE_URL"
    kind: str = "cache"

    def probe(self) -> None:
        """Ping. Raises: ConnectionError: when that fails."""
        import redis

        options = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
        with _readable(self.name), closing(redis.Redis.from_url(self.url, **options)) as client:
            try:
                client.ping()
            except redis.RedisError as error:
                raise ConnectionError(str(error)) from error


GivenServer = GivenDatabase | GivenBroker | GivenCache


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turn a driver's error about a malformed URL into one that shows nothing of the URL.

    Raises: StackError: at once, since waiting does not help.
    """
    try:
        yield
    except (ValueError, TypeError, psycopg2.Error):
        raise StackError(f"{name} cannot be read: an option or a name in it is wrong") from None


def shown_address(url: str) -> str:
    """Return the public part of a URL: hosts, ports and path, without user and options.

    Of several brokers, whose URLs stand in one setting, all are shown.
    """
    addresses = (urlsplit(each) for each in _BETWEEN_URLS.split(url))
    return ", ".join(
        # A user and a password can also stand in what counts as the path.
        (address.netloc + address.path).rpartition("@")[2].rstrip("/")
        for address in addresses
    )


def given_servers(environment: Mapping[str, str]) -> list[GivenServer]:
    """Return the servers whose URLs are in the environment."""
    known: tuple[type[GivenServer], ...] = (GivenDatabase, GivenBroker, GivenCache)
    urls = ((environment.get(server.name, "").strip(), server) for server in known)
    return [server(url) for url, server in urls if url]
