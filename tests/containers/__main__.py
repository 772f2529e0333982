"""`make containers`: docker-compose.yml on a real engine, with each container killed under load.

It starts a project of its own from an image of its own, and removes both at the end in any case.
For each kill it prints how long it took until the container was healthy again and every transfer
accepted before had ended.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from stack.demo.api_client import Api
from stack.demo.wallets import Demo, ensure_demo
from stack.servers.kept_values import KeptValues
from stack.servers.ports import LOOPBACK, free_port
from stack.servers.server import wait_until_up
from testing.http_client import Caller
from testing.servers.shared import ROOT
from tests.containers.docker_engine import EngineError, Project, compose_command, until
from tests.containers.ledger_reader import LedgerReader
from tests.containers.traffic import Traffic

STORES = ("postgres", "broker", "cache")
PARTS = ("api", "money", "scans", "beat", "flower")
SERVICES = (*STORES, *PARTS, "prometheus")
UP_WITHIN_S = 180.0
SETTLED_WITHIN_S = 120.0
STORES_LATE_BY_S = 10.0
HUNG_AFTER_S = "10"
ALL_WITHIN_S = 900
_TRAFFIC = 20
"""This many transfers must be accepted before and after each fault, or there was no load."""


class Run:
    """One run of all faults; each method is one fault and prints what it saw."""

    def __init__(self, project: Project, ledger: LedgerReader, traffic: Traffic) -> None:
        self.project = project
        self.ledger = ledger
        self.traffic = traffic

    def kill(self, service: str) -> None:
        """Kill one container, and wait until everything is as before."""
        before = self.project.state(service)["StartedAt"]
        self._traffic_goes_on()
        process_id, began_s = self.project.kill(service), time.monotonic()
        until(
            lambda: self._runs_since(service, before),
            within_s=UP_WITHIN_S,
            say=f"{service} is back",
        )
        running_s = time.monotonic() - began_s
        self.all_healthy()
        healthy_s = time.monotonic() - began_s
        self._traffic_goes_on()
        self._settled()
        settled_s = time.monotonic() - began_s
        say(
            f"{service:<10} SIGKILL to {process_id:<7} running again after {running_s:4.1f} s,"
            f" all healthy after {healthy_s:4.1f} s, settled after {settled_s:4.1f} s"
        )

    def starve(self, service: str) -> None:
        """Make the container run out of memory, so that the kernel kills its main process."""
        before = self.project.state(service)["StartedAt"]
        main = _child_of(int(self.project.state(service)["Pid"]))
        Path(f"/proc/{main}/oom_score_adj").write_text("1000")
        with suppress(EngineError):  # the process that takes the memory ends with the container
            self.project.execute(service, "python", "-c", "held = bytearray(2 << 30)")
        until(
            lambda: self._runs_since(service, before),
            within_s=UP_WITHIN_S,
            say=f"{service} is back",
        )
        took_s = self.all_healthy()
        self._traffic_goes_on()
        self._settled()
        say(f"{service:<10} out of memory, ended by the kernel: all healthy after {took_s:4.1f} s")

    def hang(self, service: str) -> None:
        """Freeze the container's program, and wait until it is restarted."""
        before = self.project.state(service)["StartedAt"]
        began_s = time.monotonic()
        os.kill(_child_of(int(self.project.state(service)["Pid"])), signal.SIGSTOP)
        until(
            lambda: self._runs_since(service, before),
            within_s=UP_WITHIN_S,
            say=f"{service} is back",
        )
        self.all_healthy()
        healthy_s = time.monotonic() - began_s
        self._traffic_goes_on()
        self._settled()
        say(
            f"{service:<10} SIGSTOP, with HUNG_AFTER_S={HUNG_AFTER_S}: ended by its health check,"
            f" all healthy after {healthy_s:4.1f} s"
        )

    def stop(self) -> None:
        """Stop everything in order, under load, and remove everything except the data."""
        self._traffic_goes_on()
        self.project.run("stop")
        codes = {service: self.project.state(service)["ExitCode"] for service in SERVICES}
        if any(codes.values()):
            raise EngineError(f"not everything stops with exit code 0: {codes}")
        self.project.run("down")
        say("stop and down under load: every container ended by itself, with exit code 0")

    def up(self) -> None:
        """Start everything again on the existing data."""
        known = list(self.traffic.accepted.values())
        self.project.up()
        took_s = self.all_healthy()
        if self.ledger.states(known).get("nowhere"):
            raise EngineError("`down` and `up` lost transfers")
        self._traffic_goes_on()
        self._settled()
        say(f"up again: healthy after {took_s:4.1f} s, with all {len(known)} transfers of before")

    def reboot(self) -> None:
        """Start in no order, the data stores last, as an engine may do after a reboot."""
        self.project.run("kill")
        self.project.start(*PARTS)
        time.sleep(STORES_LATE_BY_S)
        self.project.start(*STORES, "prometheus")
        took_s = self.all_healthy()
        self._traffic_goes_on()
        self._settled()
        say(
            f"all killed, data stores started {STORES_LATE_BY_S:g} s after the rest:"
            f" all healthy {took_s:4.1f} s after that"
        )

    def watched(self) -> None:
        """Wait until Prometheus can read the metrics of every part."""
        # A container that was killed leaves its last value for five minutes.
        read_now = "sum((up == 1) and (time() - timestamp(up) < 60))"
        ask = ("promtool", "query", "instant", "http://127.0.0.1:9090", read_now)
        targets = 4  # the API, both workers, and itself
        until(
            lambda: f"=> {targets} @" in self.project.execute("prometheus", *ask),
            within_s=UP_WITHIN_S,
            say=f"Prometheus reads {targets} targets",
        )
        say("prometheus reads the API, both workers and itself")

    def end(self) -> None:
        """Wait until all transfers have ended, and audit the ledger."""
        self.traffic.stop()
        self._settled()
        say(
            f"{self.ledger.audit(self.traffic)}; {self.traffic.repeats} repeats of requests without"
            f" an answer, {len(self.traffic.buffered)} were buffered"
        )

    def _runs_since(self, service: str, before: str) -> bool:
        state = self.project.state(service)
        return bool(state["Running"] and state["StartedAt"] != before)

    def all_healthy(self) -> float:
        return until(
            lambda: all(map(self.project.is_healthy, SERVICES)),
            within_s=UP_WITHIN_S,
            say="all are healthy",
        )

    def _traffic_goes_on(self) -> None:
        wanted = len(self.traffic.accepted) + _TRAFFIC
        until(
            lambda: len(self.traffic.accepted) >= wanted,
            within_s=UP_WITHIN_S,
            say="transfers are accepted",
        )

    def _settled(self) -> None:
        """Wait until every transfer accepted so far has ended."""
        transfers = list(self.traffic.accepted.values())
        until(
            lambda: self.ledger.all_committed(transfers),
            within_s=SETTLED_WITHIN_S,
            say="what was accepted has ended",
        )


def main() -> int:
    """Run all faults. Returns: the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(ALL_WITHIN_S)
    folder = Path(tempfile.mkdtemp(prefix="truepenny-containers-"))
    try:
        with project(folder) as own:
            _go_through(own, folder)
    except EngineError as error:
        say(f"FAILED: {error}")
        return 1
    finally:
        shutil.rmtree(folder)
    say("all is well")
    return 0


def _go_through(own: Project, folder: Path) -> None:
    began_s = time.monotonic()
    own.up()
    run = Run(own, *_people(own, folder))
    run.all_healthy()
    say(f"up: all healthy after {time.monotonic() - began_s:4.1f} s")
    run.traffic.start()
    for service in SERVICES:
        run.kill(service)
    run.starve("money")
    run.hang("scans")
    run.stop()
    run.up()
    run.reboot()
    run.watched()
    run.end()
    own.remove()
    left = own.leftovers()
    if left:
        raise EngineError(f"`down --volumes` left {left}")
    say("down with volumes: nothing is left")


@contextmanager
def project(folder: Path) -> Iterator[Project]:
    """Build the project; remove it at the end, after printing its logs if a fault failed."""
    name = f"truepenny-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]}"
    own = Project(
        name=name,
        compose=compose_command(),
        environment={
            "TRUEPENNY_TAG": name,
            "HUNG_AFTER_S": HUNG_AFTER_S,
            "SECRETS_DIR": str(folder / "secrets"),
            **{port: str(free_port()) for port in ("PORT", "FLOWER_PORT", "PROMETHEUS_PORT")},
        },
    )
    own.make_secrets()
    own.remove()  # what a run that was killed has left
    own.run("build", "--quiet", "api")
    try:
        yield own
    except BaseException:
        with suppress(EngineError):
            say(own.run("ps"))
            say(own.run("logs", "--no-color", "--tail", "30"))
        raise
    finally:
        own.remove()


def _people(own: Project, folder: Path) -> tuple[LedgerReader, Traffic]:
    """Make a client with two wallets through the API."""
    port = int(own.environment["PORT"])
    key = (folder / "secrets" / "admin_api_key").read_text().strip()
    admin = Api(LOOPBACK, port, key)
    wait_until_up(admin, timeout_s=UP_WITHIN_S)
    demo = ensure_demo(admin, KeptValues(folder / "demo"), pause=time.sleep)
    return LedgerReader(own, admin, demo), Traffic(Caller(port, demo.api_key), _body(demo))


def _body(demo: Demo) -> dict[str, str]:
    return {
        "source": demo.source,
        "destination": demo.destination,
        "amount": "0.01",
        "asset": "USD",
    }


def _child_of(process_id: int) -> int:
    """Return the only child of a container's first process."""
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return int(children[0])


def _interrupt(signal_number: int, _frame: FrameType | None) -> NoReturn:
    raise EngineError(f"interrupted by {signal.Signals(signal_number).name}")


def say(line: str) -> None:
    """Print a line with the time since the start."""
    print(f"containers {time.monotonic() - _BEGAN_S:6.1f} s  {line}", flush=True)


_BEGAN_S = time.monotonic()

if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
