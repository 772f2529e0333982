"""Fixtures of outage tests: an installation per module and broker, on its own PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.servers.own import Servers
from testing.installation import Installation, running_installation
from testing.servers.breakable import breakable
from testing.servers.brokers import Broker
from testing.servers.shared import migrate
from testing.servers.throwaway import throwaway_servers


@pytest.fixture(scope="module")
def own_servers() -> Iterator[tuple[Servers, Path]]:
    """Return servers with their own ports and data, and the folder of that data."""
    folder = Path(tempfile.mkdtemp(prefix="truepenny-outages-"))
    folder.chmod(0o711)  # the servers' account must be able to enter
    yield throwaway_servers(folder), folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def installation(
    own_servers: tuple[Servers, Path], broker: Broker, cache_url: str
) -> Iterator[Installation]:
    servers, folder = own_servers
    postgres = servers.postgres()
    with breakable(postgres, folder / "postgres.log") as database:
        migrate(postgres.url)
        with running_installation(database, postgres.url, broker, cache_url, folder) as everything:
            yield everything
