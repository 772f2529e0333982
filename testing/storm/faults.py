"""Faults of a storm: how each is made, and how it ends.

A fault is a context: it is broken inside the block. All run in the main thread.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
from sqlalchemy import text

from testing.servers.breakable import Breakable
from testing.storm.broker_faults import (
    broker_emptied,
    broker_forged,
    broker_full,
    cache_emptied,
    cache_full,
)
from testing.storm.installation import MONEY
from testing.storm.machine import false_clock, filled
from testing.storm.plan import Fault
from testing.storm.scene import Making, NotNow, Scene
from testing.storm.step_faults import (
    destination_frozen,
    killed_between_commit_and_publish,
    messages_doubled,
)
from testing.wallet_lock import locked
from testing.worker_processes import BEAT, SCANS, CeleryProcess

_OFFSETS_S = (90, -90, 7200, -7200)
_RESTART_WITHIN_S = 10.0


def _worker(scene: Scene, fault: Fault) -> CeleryProcess:
    return scene.installation.running[MONEY[fault.victim % len(MONEY)]]


def _child(worker: CeleryProcess, fault: Fault) -> psutil.Process:
    with suppress(psutil.NoSuchProcess):
        children: list[psutil.Process] = psutil.Process(worker.pid).children()
        if children:
            return children[fault.victim // 2 % len(children)]
    raise NotNow("it has no child")


@contextmanager
def _killed(worker: CeleryProcess) -> Iterator[None]:
    if worker.is_alive:
        worker.kill_group()
    yield


@contextmanager
def _frozen_group(pid: int) -> Iterator[None]:
    try:
        os.killpg(pid, signal.SIGSTOP)
    except ProcessLookupError as error:
        raise NotNow("it is not running") from error
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGCONT)


@contextmanager
def _frozen(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


@contextmanager
def worker_child_killed(scene: Scene, fault: Fault) -> Iterator[None]:
    _child(_worker(scene, fault), fault).kill()
    yield


@contextmanager
def two_beats(scene: Scene, _: Fault) -> Iterator[None]:
    second = scene.installation.workers.start(BEAT)
    yield
    second.stop()


@contextmanager
def api_process_killed(scene: Scene, fault: Fault) -> Iterator[None]:
    _api_process(scene, fault).kill()
    yield


def _api_process(scene: Scene, fault: Fault) -> psutil.Process:
    processes = scene.installation.api_processes()
    if not processes:
        raise NotNow("it has no process")
    return processes[fault.victim % len(processes)]


@contextmanager
def api_killed(scene: Scene, _: Fault) -> Iterator[None]:
    scene.installation.held.add("api")
    scene.installation.signal_api(signal.SIGKILL)
    try:
        yield
    finally:
        scene.installation.held.discard("api")


@contextmanager
def rolling_restart(scene: Scene, _: Fault) -> Iterator[None]:
    """Ask one program after the other to end, and start it again, as a deployment does."""
    installation = scene.installation
    for role in (*MONEY, SCANS, BEAT):
        running = installation.running[role]
        running.process.terminate()
        until_s = time.monotonic() + _RESTART_WITHIN_S
        while running.is_alive and time.monotonic() < until_s:
            time.sleep(0.05)
        installation.keep()
    assert installation.api is not None
    with suppress(ProcessLookupError):
        os.kill(installation.api.pid, signal.SIGHUP)
    yield


@contextmanager
def _server_killed(server: Breakable) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def postmaster_killed(scene: Scene, _: Fault) -> Iterator[None]:
    """Kill PostgreSQL's first process alone: the others notice it, and end by themselves."""
    server = scene.installation.replicas.process
    others = server.kill_first()
    try:
        yield
    finally:
        # Until then the data belongs to them, and no other server starts on it.
        alive = psutil.wait_procs(others, timeout=_RESTART_WITHIN_S)[1]
        for process in alive:
            process.kill()
        server.start()


@contextmanager
def database_sessions_ended(scene: Scene, fault: Fault) -> Iterator[None]:
    """End a third of the application's sessions in the database."""
    chance = random.Random(fault.victim)  # noqa: S311 - a plan must be repeatable
    with scene.installation.engine.connect() as connection:
        pids = connection.scalars(
            text("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'truepenny%'")
        ).all()
        for pid in chance.sample(pids, -(-len(pids) // 3)):
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    yield


@contextmanager
def failover(scene: Scene, _: Fault) -> Iterator[None]:
    """Kill the primary for good; at the end its standby takes over, and it becomes the standby."""
    replicas = scene.installation.replicas
    if not replicas.is_synchronous:
        raise NotNow("the standby is not in step")
    replicas.process.kill()
    try:
        yield
    finally:
        replicas.fail_over()


@contextmanager
def database_disk_full(scene: Scene, _: Fault) -> Iterator[None]:
    """Leave PostgreSQL no room. It may end itself over that; somebody starts it again."""
    assert scene.installation.disk is not None
    try:
        with filled(scene.installation.disk):
            yield
    finally:
        scene.installation.replicas.start()


def _clock_wrong(role_of: Callable[[Fault], tuple[str, ...]]) -> Making:
    @contextmanager
    def make(scene: Scene, fault: Fault) -> Iterator[None]:
        offset_s = _OFFSETS_S[fault.victim // 2 % len(_OFFSETS_S)]
        started = scene.installation.start_with(role_of(fault), **false_clock(offset_s))
        yield
        started.stop()

    return make


@contextmanager
def wallet_locked(scene: Scene, fault: Fault) -> Iterator[None]:
    wallet = scene.wallets[fault.victim % len(scene.wallets)]
    with locked(scene.installation.engine, wallet):
        yield


def _network(server: str, mode: str) -> Making:
    @contextmanager
    def make(scene: Scene, _: Fault) -> Iterator[None]:
        for each in scene.installation.gateways[server]:
            each.mode(mode)
        try:
            yield
        finally:
            for each in scene.installation.gateways[server]:
                each.mode("pass")

    return make


FAULTS: dict[str, Making] = {
    "worker killed": lambda scene, fault: _killed(_worker(scene, fault)),
    "worker child killed": worker_child_killed,
    "worker frozen": lambda scene, fault: _frozen_group(_worker(scene, fault).pid),
    "worker child frozen": lambda scene, fault: _frozen(_child(_worker(scene, fault), fault)),
    "killed between commit and publish": killed_between_commit_and_publish,
    "scans killed": lambda scene, _: _killed(scene.installation.running[SCANS]),
    "scans frozen": lambda scene, _: _frozen_group(scene.installation.running[SCANS].pid),
    "beat killed": lambda scene, _: _killed(scene.installation.running[BEAT]),
    "beat frozen": lambda scene, _: _frozen_group(scene.installation.running[BEAT].pid),
    "two beats": two_beats,
    "api process killed": api_process_killed,
    "api killed": api_killed,
    "api process frozen": lambda scene, fault: _frozen(_api_process(scene, fault)),
    "rolling restart": rolling_restart,
    "worker clock wrong": _clock_wrong(lambda fault: MONEY[fault.victim % len(MONEY)]),
    "beat clock wrong": _clock_wrong(lambda _: BEAT),
    "failover": failover,
    "database disk full": database_disk_full,
    "database killed": lambda scene, _: _server_killed(scene.installation.replicas.process),
    "database postmaster killed": postmaster_killed,
    "database frozen": lambda scene, _: scene.installation.replicas.process.frozen(),
    "database sessions ended": database_sessions_ended,
    "wallet locked": wallet_locked,
    "destination frozen": destination_frozen,
    "messages doubled": messages_doubled,
    "broker killed": lambda scene, _: _server_killed(scene.installation.broker.process),
    "broker frozen": lambda scene, _: scene.installation.broker.process.frozen(),
    "broker emptied": broker_emptied,
    "broker forged": broker_forged,
    "broker full": broker_full,
    "cache killed": lambda scene, _: _server_killed(scene.installation.cache),
    "cache frozen": lambda scene, _: scene.installation.cache.frozen(),
    "cache emptied": cache_emptied,
    "cache full": cache_full,
    **{
        f"{server} {shown}": _network(server, mode)
        for server in ("database", "broker")
        for shown, mode in (
            *((same, same) for same in ("cut", "slow", "half-open", "deaf")),
            ("drops answers", "drops"),
        )
    },
}
