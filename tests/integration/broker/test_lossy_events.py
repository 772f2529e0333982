"""Lossy events: while the broker is away, they cost a worker neither time nor memory.

When it is back, they flow again, also where only their own connection was lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from settings import Settings
from testing.identity import IDENTITY
from testing.servers.breakable import Breakable, breakable
from testing.servers.brokers import RabbitBroker
from testing.servers.own_servers import own_servers
from testing.worker_processes import SCANS, eventually, workers_on
from workers.celery_app import make_celery
from workers.lossy_events import LossyDispatcher

WITHIN_S = 6.0
"""Twice the one allowed time-out, for a slow machine."""


@pytest.fixture(scope="module")
def broker(servers_folder: Path) -> Iterator[Breakable]:
    servers = own_servers(servers_folder)
    with breakable(servers.broker(), servers.home.data / "broker.log") as broker:
        yield broker


@pytest.fixture
def dispatcher(broker: Breakable) -> Iterator[Any]:
    """Return a connected event dispatcher as a worker has it."""
    environment = {**IDENTITY, "DATABASE_URL": "postgresql://x", "CACHE_URL": broker.url}
    app = make_celery(Settings.from_environment(environment | {"BROKER_URL": broker.url}))
    with app.connection_for_write() as connection:
        dispatcher = app.events.Dispatcher(connection, hostname="money@test", buffer_group=["task"])
        dispatcher.send("worker-online")
        yield dispatcher


@pytest.mark.parametrize("harm", [Breakable.kill, Breakable.freeze])
def test_events_are_lost_at_once_while_the_broker_is_away(
    broker: Breakable, dispatcher: Any, harm: Callable[[Breakable], None]
) -> None:
    assert isinstance(dispatcher, LossyDispatcher)
    harm(broker)
    try:
        begun = time.monotonic()
        for number in range(1000):
            dispatcher.send("worker-heartbeat", retry=True)  # as Celery's timer does
            dispatcher.send("task-received", uuid=str(number))
        dispatcher.flush()
        assert time.monotonic() - begun < WITHIN_S
        assert not vars(dispatcher)["_outbound_buffer"]
        assert not any(vars(dispatcher)["_group_buffer"].values())
    finally:
        if broker.runs:
            broker.thaw()
        else:
            broker.start()


def test_events_whose_own_connection_was_closed_flow_again(
    rabbit_broker: RabbitBroker, template_url: str, cache_url: str, tmp_path: Path
) -> None:
    received: list[Any] = []
    of_others = rabbit_broker.connections_without_consumer()
    with workers_on(template_url, rabbit_broker.url, cache_url, tmp_path) as workers:
        workers.ready(SCANS)
        [of_events] = rabbit_broker.connections_without_consumer() - of_others
        app = make_celery(Settings.from_environment(workers.environment))
        with app.connection_for_read() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": received.append})
            with receiver.consumer_context() as (listening, _, _):
                eventually(lambda: drain(listening) and received)
                rabbit_broker.close_connection(of_events)
                closed_at_s = time.time()
                eventually(lambda: drain(listening) and received[-1]["timestamp"] > closed_at_s)


def drain(connection: Any) -> bool:
    """Take one event, if one comes soon."""
    with suppress(TimeoutError):
        connection.drain_events(timeout=0.5)
    return True
