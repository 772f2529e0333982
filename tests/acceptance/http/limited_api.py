"""Rate-limited APIs: two servers over one cache, and callers at many addresses.

One takes its clients' addresses from the connection, the other from one proxy. Loopback has
millions of addresses: each test sends from new ones.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import requests
from requests.adapters import HTTPAdapter
from sqlalchemy import Engine

from ledger.clients import Scope, create_client
from ledger.postgres.database import transaction
from stack.servers.home import find_home
from stack.servers.kept_values import KeptValues
from stack.servers.own import Servers
from testing.http_client import Caller, serving
from testing.servers.breakable import Breakable, breakable

LIMIT = 10
_numbers = itertools.count(1)


def fresh_address() -> str:
    """Return an address of loopback that no test has sent from."""
    high, low = divmod(next(_numbers), 250)
    return f"127.1.{high}.{low + 1}"


class _Sender(HTTPAdapter):
    """Connects from a given address."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, source_address=(self._address, 0), **options)


def caller_from(address: str, *, port: int, api_key: str | None) -> Caller:
    """Return a caller whose requests come from that address."""
    session = requests.Session()
    session.mount("http://", _Sender(address))
    return Caller(port, api_key, session)


@dataclass(frozen=True)
class LimitedApi:
    """The two servers' ports, and what is behind them."""

    direct: int
    proxied: int
    cache: Breakable
    engine: Engine

    def new_key(self, *, scope: Scope = "client", rate_limit: str | None = None) -> str:
        """Make a client. Returns: its key, which no process has seen yet."""
        with transaction(self.engine) as connection:
            _, api_key = create_client(
                connection, name="limited", scope=scope, rate_limit=rate_limit
            )
        return api_key

    def new_caller(
        self,
        *,
        scope: Scope = "client",
        rate_limit: str | None = None,
        address: str | None = None,
    ) -> Caller:
        """Make a client, at an address of its own unless one is given."""
        api_key = self.new_key(scope=scope, rate_limit=rate_limit)
        return caller_from(address or fresh_address(), port=self.direct, api_key=api_key)

    def cache_client(self) -> redis.Redis:
        return redis.Redis.from_url(self.cache.url, socket_timeout=5)

    def all_count_in_cache(self) -> bool:
        """Return whether many requests show that all processes count in the cache."""
        address, api_key = fresh_address(), self.new_key(rate_limit="1000/minute")
        for port in (self.direct, self.proxied):
            statuses_at_once(address, port, api_key, 20)
        after = write(caller_from(address, port=self.direct, api_key=api_key))
        return after.headers["X-RateLimit-Remaining"] == "959"


def write(caller: Caller, **headers: str) -> requests.Response:
    """Make a wallet, which counts as one request."""
    return caller.post("/v1/wallets", {"asset": "USD"}, **headers)


def statuses(caller: Caller, times: int, **headers: str) -> list[int]:
    """Write repeatedly through one connection, and so to one process."""
    return [write(caller, **headers).status_code for _ in range(times)]


def statuses_at_once(address: str, port: int, api_key: str, times: int) -> list[int]:
    """Write in parallel, each through its own connection, to all processes."""

    def send(_: int) -> int:
        return write(caller_from(address, port=port, api_key=api_key)).status_code

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(send, range(times)))


@contextmanager
def limited_api(
    *, database_url: str, broker_url: str, engine: Engine, logs: Path
) -> Iterator[LimitedApi]:
    """Run both servers on a cache that a test may break."""
    folder = Path(tempfile.mkdtemp(prefix="truepenny-tests-"))
    folder.chmod(0o711)  # the servers' account may pass through
    servers = Servers(find_home(folder, say=print), KeptValues(folder / "secrets"))
    with ExitStack() as running:
        running.callback(shutil.rmtree, folder)
        cache = running.enter_context(breakable(servers.cache(), logs / "cache.log"))
        environment = {
            "DATABASE_URL": database_url,
            "BROKER_URL": broker_url,
            "CACHE_URL": cache.url,
            "RATE_LIMIT": f"{LIMIT}/minute",
        }
        ports = [
            running.enter_context(
                serving(log=logs / f"api-{hops}.log", PROXY_HOPS=hops, **environment)
            )
            for hops in ("0", "1")
        ]
        yield LimitedApi(direct=ports[0], proxied=ports[1], cache=cache, engine=engine)
