"""Installation under a storm: servers behind proxies, and programs that are started again.

All processes are started by the main thread, because the kernel ends a child with the thread
that made it (`stack/launcher.py`). So the main thread keeps them alive, too: `keep`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests
from sqlalchemy import Engine

from ledger.postgres.database import build_engine
from stack.servers.own import Servers
from stack.servers.ports import LOOPBACK, free_port
from stack.servers.postgres import Postgres
from stack.servers.server import launch_command
from testing.http_client import CONFIG
from testing.identity import IDENTITY
from testing.programs import ROOT
from testing.servers.breakable import Breakable, breakable
from testing.servers.brokers import Broker, own_rabbitmq, own_redis
from testing.servers.shared import migrate
from testing.servers.throwaway import throwaway_servers
from testing.storm.machine import small_disk
from testing.storm.plan import Plan
from testing.storm.replicas import Replicas, small
from testing.worker_processes import BEAT, SCANS, CeleryProcess, Workers, eventually

MONEY = tuple(
    ("worker", "-Q", "money.advance,money.reserve", "-c", "2", "-n", f"money-{name}@%h")
    for name in "ab"
)
ROLES = (*MONEY, SCANS, BEAT)
_READY_WITHIN_S = 60.0
_END_WITHIN_S = 30.0


@dataclass
class Gateway:
    """A proxy in front of a server."""

    port: int
    process: subprocess.Popen[str]

    def mode(self, name: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()


@contextmanager
def gateway(target: int) -> Iterator[Gateway]:
    """Run a proxy to this port of loopback."""
    port = free_port()
    with subprocess.Popen(
        launch_command((sys.executable, "-m", "testing.storm.proxy", str(port), str(target))),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the storm, which then ends it
    ) as process:
        try:
            yield Gateway(port, process)
        finally:
            process.kill()


@dataclass
class Installation:
    """Everything that a storm may break."""

    replicas: Replicas
    disk: Path | None
    """The small disk of the database, where it has one."""
    broker: Broker
    cache: Breakable
    gateways: dict[str, list[Gateway]]
    workers: Workers
    environment: dict[str, str]
    direct: dict[str, str]
    """The environment of a process that uses the servers without their proxies."""
    folder: Path
    port: int
    api: subprocess.Popen[bytes] | None = None
    running: dict[tuple[str, ...], CeleryProcess] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    """Roles that a fault keeps from being started again: `api`, or the name of a worker."""

    @property
    def engine(self) -> Engine:
        """An engine on the server that takes writes now, not through its proxy.

        Without a pool: a connection from before an outage would be dead.
        """
        return build_engine(self.replicas.primary.url, application_name="storm", pool_size=0)

    def keep(self) -> None:
        """Start again what has died, as a process manager does."""
        if (self.api is None or self.api.poll() is not None) and "api" not in self.held:
            self.api = self._start_api()
        for role in ROLES:
            running = self.running.get(role)
            if running is None or not running.is_alive:
                self.running[role] = self.workers.start(role)

    def start_with(self, role: tuple[str, ...], **environment: str) -> CeleryProcess:
        """Start a worker or beat in the place of the one that runs, with a changed environment."""
        self.running[role].stop()
        changed = Workers(self.environment | environment, self.folder, self.workers.started)
        self.running[role] = changed.start(role)
        return self.running[role]

    def is_ready(self) -> bool:
        """Return whether the API answers and every worker has started."""
        with suppress(requests.RequestException):
            answer = requests.get(f"http://{LOOPBACK}:{self.port}/health/live", timeout=3)
            return answer.ok and all(
                each.is_beat or each.is_ready() for each in self.running.values()
            )
        return False

    def api_processes(self) -> list[psutil.Process]:
        """Return the processes that serve requests."""
        assert self.api is not None
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.api.pid).children()
        return []

    def signal_api(self, number: signal.Signals) -> None:
        """Send a signal to the API's parent and all its children."""
        assert self.api is not None
        with suppress(ProcessLookupError):
            os.killpg(self.api.pid, number)

    def end(self) -> None:
        """End all programs, in whatever state they are."""
        for running in self.running.values():
            running.stop()
        for started in self.workers.started:
            started.stop()
        if self.api is not None and self.api.poll() is None:
            self.signal_api(signal.SIGKILL)
            self.api.wait(_END_WITHIN_S)

    def _start_api(self) -> subprocess.Popen[bytes]:
        with (self.folder / "api.log").open("ab") as output:
            return subprocess.Popen(
                launch_command((sys.executable, "-m", "gunicorn", "-c", CONFIG, "wsgi:app")),
                cwd=ROOT,
                env=self.environment | {"PORT": str(self.port)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextmanager
def _databases(
    folder: Path, servers: Servers, plan: Plan
) -> Iterator[tuple[Replicas, Path | None]]:
    """Start the database, migrated; with a small disk or a standby if the plan breaks these."""
    planned = {fault.name for fault in plan.faults}
    postgres: Postgres = servers.postgres()
    disk = None
    with ExitStack() as stack:
        if "database disk full" in planned:
            disk = folder / "disk"
            disk.mkdir(mode=0o711)
            stack.enter_context(small_disk(disk))
            postgres = small(postgres, disk)
        replicas = Replicas(postgres, folder / "postgres.log")
        stack.callback(replicas.kill)
        replicas.start()
        migrate(postgres.url)
        if "failover" in planned:
            replicas.add_standby(servers.home)
        yield replicas, disk


@contextmanager
def installation_of(folder: Path, plan: Plan) -> Iterator[Installation]:
    """Start what the plan needs in an empty folder. At the end everything is killed."""
    servers = throwaway_servers(folder)
    with ExitStack() as stack:
        replicas, disk = stack.enter_context(_databases(folder, servers, plan))
        broker: Broker
        if plan.broker == "redis":
            broker = stack.enter_context(own_redis(servers.home, folder / "broker.log"))
        else:
            broker = stack.enter_context(own_rabbitmq(servers.home, folder / "broker.log"))
        cache = stack.enter_context(breakable(servers.cache(), folder / "cache.log"))
        before = {port: stack.enter_context(gateway(port)) for port in replicas.ports()}
        to_broker = stack.enter_context(gateway(_port_of(broker.url)))
        direct = _environment(replicas.url(), broker.url, cache.url, folder, plan)
        environment = direct | {
            "DATABASE_URL": replicas.url({port: each.port for port, each in before.items()}),
            "BROKER_URL": broker.url.replace(f":{_port_of(broker.url)}/", f":{to_broker.port}/"),
        }
        installation = Installation(
            replicas=replicas,
            disk=disk,
            broker=broker,
            cache=cache,
            gateways={"database": list(before.values()), "broker": [to_broker]},
            workers=Workers(environment, folder, []),
            environment=environment,
            direct=direct,
            folder=folder,
            port=free_port(),
        )
        stack.callback(installation.end)
        installation.keep()
        eventually(installation.is_ready, within_s=_READY_WITHIN_S)
        yield installation


def _port_of(url: str) -> int:
    return int(url.rpartition("@")[2].partition(":")[2].partition("/")[0])


def _environment(
    database_url: str, broker_url: str, cache_url: str, folder: Path, plan: Plan
) -> dict[str, str]:
    return {
        **os.environ,
        **IDENTITY,
        "DATABASE_URL": database_url,
        "BROKER_URL": broker_url,
        "CACHE_URL": cache_url,
        "DATA_DIR": str(folder / "data"),
        "STUCK_AFTER_S": str(plan.stuck_after_s),
        "RECONCILE_EVERY_S": "5",
        "RATE_LIMIT": "none",
        "PRICE_SYMBOLS": "none",
        "PYTHONWARNINGS": "ignore",
    }
