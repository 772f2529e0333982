"""Own servers: a test's private servers, on new ports and with new data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack.servers.own import Servers
from testing.servers.breakable import Breakable, breakable
from testing.servers.throwaway import throwaway_servers


def own_servers(servers_folder: Path) -> Servers:
    """Return servers for one test, not started; their data is deleted with `servers_folder`."""
    folder = Path(tempfile.mkdtemp(prefix="own-", dir=servers_folder))
    folder.chmod(0o711)  # the servers' account passes through
    return throwaway_servers(folder)


@dataclass(frozen=True)
class OwnRedis:
    """The two roles of Redis as two servers, each breakable by itself."""

    broker: Breakable
    cache: Breakable


@contextmanager
def own_redis(servers_folder: Path) -> Iterator[OwnRedis]:
    """Start a broker and a cache that only this test uses."""
    servers = own_servers(servers_folder)
    with ExitStack() as stack:
        broker, cache = (
            stack.enter_context(breakable(server, servers.home.data / f"{server.name}.log"))
            for server in (servers.broker(), servers.cache())
        )
        yield OwnRedis(broker, cache)
