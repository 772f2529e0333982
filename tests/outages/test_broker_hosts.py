"""The first of two brokers dies: transfers are accepted, buffered and settled by the second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.servers.home import Home
from stack.servers.own import Servers
from testing.installation import Installation, running_installation
from testing.load import load_on
from testing.servers.breakable import breakable
from testing.servers.brokers import RabbitBroker, own_rabbitmq
from testing.servers.shared import migrate
from testing.worker_processes import eventually

pytestmark = pytest.mark.chaos


@pytest.fixture
def brokers(brokers_place: Home, servers_folder: Path) -> Iterator[tuple[RabbitBroker, ...]]:
    """Start two nodes that are no cluster."""
    log = servers_folder / "brokers-of-an-outage.log"
    with (
        own_rabbitmq(brokers_place, log, name="outage-first") as first,
        own_rabbitmq(brokers_place, log, name="outage-second") as second,
    ):
        yield first, second


@pytest.fixture
def everything(
    own_servers: tuple[Servers, Path], brokers: tuple[RabbitBroker, ...], cache_url: str
) -> Iterator[Installation]:
    servers, folder = own_servers
    postgres = servers.postgres()
    urls = ";".join(each.url for each in brokers)
    with breakable(postgres, folder / "postgres.log") as database:
        migrate(postgres.url)
        with running_installation(
            database, postgres.url, brokers[0], cache_url, folder, broker_url=urls
        ) as running:
            yield running


def test_all_parts_go_on_with_the_second_broker(
    everything: Installation, brokers: tuple[RabbitBroker, ...]
) -> None:
    client, (first, second) = everything.client, brokers

    def broker_health() -> str:
        return str(client.get("/health").json()["components"]["broker"]["status"])

    with load_on(client, everything.body()) as load:
        load.goes_on(20)
        first.process.kill()
        load.goes_on(20)
        eventually(lambda: broker_health() == "ok")
        with everything.outage():
            load.goes_on(20)
            assert second.waiting("intake") > 0
        load.goes_on(20)
    assert not load.refused, load.refused[0].text
    everything.settles([str(id) for id in load.accepted])

    second.fill()
    try:
        eventually(lambda: client.submit(everything.body()).status_code == 503)
        assert broker_health() == "degraded"
    finally:
        second.make_room()
    eventually(lambda: client.submit(everything.body(), prefer="wait=5").status_code == 201)
