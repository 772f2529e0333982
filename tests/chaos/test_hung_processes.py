"""Heartbeats of real workers and beat: fresh during outages, stale when a process hangs."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from monitoring.heartbeats import heartbeat_files
from settings import Settings
from tasks.broker import queues
from testing.servers.breakable import Breakable
from testing.servers.brokers import RabbitBroker
from testing.servers.own_servers import own_redis
from testing.servers.shared import ROOT
from testing.worker_processes import BEAT, START_WITHIN_S, Workers, eventually, workers_on
from tests.chaos.scenario import stopped
from workers.celery_app import make_celery

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

MONEY = ("worker", "-Q", "money.advance,money.reserve", "-c", "1", "-n", "money@%h")
LATE = (*MONEY[:-1], "late@%h")
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"  # nothing here uses the database
FRESH_S = 14.0
"""Half of what `monitoring.heartbeats.liveness` allows, and twice what was measured."""
OUTAGE_S = 22.0


@pytest.fixture(autouse=True)
def nothing_left_over() -> None:
    """Replace the fixture of this folder: there are no transfers here."""


@dataclass(frozen=True)
class Side:
    """One broker with its own worker and beat."""

    broker: Breakable
    workers: Workers
    folder: Path

    def age_s(self, name: str) -> float:
        age_s = heartbeat_files.age_s(self.folder, name)
        return float("inf") if age_s is None else age_s

    def all_beat(self, *names: str) -> bool:
        return all(self.age_s(name) < 3 for name in names)


@pytest.fixture(scope="module")
def sides(
    servers_folder: Path,
    rabbit_broker: RabbitBroker,
    cache_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Side]]:
    """Start several, so that several kinds of outage are tested at the same time."""
    rabbit_broker.empty()
    with ExitStack() as stack:
        brokers = [
            *(stack.enter_context(own_redis(servers_folder)).broker for _ in range(2)),
            rabbit_broker.process,
        ]
        sides = []
        for broker in brokers:
            folder = tmp_path_factory.mktemp("data")
            workers = stack.enter_context(workers_on(NOWHERE, broker.url, cache_url, folder))
            sides.append(Side(broker, workers, heartbeat_files.folder(folder)))
            workers.start(MONEY)
            workers.start(BEAT)
        for side in sides:
            eventually(side.workers.started[0].is_ready, within_s=START_WITHIN_S)
            eventually(partial(side.all_beat, "money", "beat"), within_s=START_WITHIN_S)
        yield sides


def test_heartbeats_go_on_while_the_broker_is_killed_or_frozen(sides: list[Side]) -> None:
    killed, frozen, rabbit = sides
    killed.broker.kill()
    frozen.broker.freeze()
    rabbit.broker.freeze()
    late = frozen.workers.start(LATE)
    eventually(partial(frozen.all_beat, "late"))  # it starts although it cannot connect
    watched = [(side, name) for side in sides for name in ("money", "beat")]
    ends_at_s = time.monotonic() + OUTAGE_S
    while time.monotonic() < ends_at_s:
        for side, name in (*watched, (frozen, "late")):
            assert side.age_s(name) < FRESH_S, (sides.index(side), name)
        time.sleep(0.2)
    killed.broker.start()
    frozen.broker.thaw()
    rabbit.broker.thaw()
    eventually(late.is_ready)
    for side, name in watched:
        eventually(partial(side.all_beat, name))
    for process in (late, *(each for side in sides for each in side.workers.started)):
        assert process.is_alive
    late.kill_group()


@pytest.mark.parametrize("name", ["money", "beat"])
def test_a_process_that_is_stopped_stops_beating(sides: list[Side], name: str) -> None:
    side = sides[0]
    process = side.workers.started[0 if name == "money" else 1]
    eventually(lambda: side.all_beat(name))
    with stopped(process.pid):
        eventually(lambda: side.age_s(name) > 4)
    eventually(lambda: side.all_beat(name))


def test_a_worker_whose_event_loop_is_blocked_stops_beating(sides: list[Side]) -> None:
    """It writes to a pipe that is no longer read, so it is alive but blocked in the write."""
    side = sides[0]
    name, queue = "blocked", queues.WATCH  # which is consumed without a database
    worker = ("worker", "-Q", queue, "-c", "1", "-n", f"{name}@%h")
    command = [sys.executable, "-m", "workers", *worker]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=side.workers.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        while b" ready." not in process.stdout.readline():
            assert process.poll() is None
        eventually(lambda: side.all_beat(name))
        app = make_celery(Settings.from_environment(side.workers.environment))
        for _ in range(50):  # the parent logs these, not its child
            app.send_task("a task that nobody knows", queue=queue)
        eventually(lambda: side.age_s(name) > 4)
        assert process.poll() is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
