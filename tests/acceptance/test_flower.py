"""Flower for operators: shows everything, changes nothing, and survives outages."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from celery import Celery
from flower.urls import handlers  # type: ignore[import-untyped] # it has no types
from sqlalchemy import text

from settings import Settings
from stack.servers.ports import LOOPBACK, free_port
from stack.servers.server import launch_command
from tasks import chain
from tasks.broker import queues
from testing.bank import Bank
from testing.identity import IDENTITY
from testing.servers.brokers import Broker, RedisBroker
from testing.servers.databases import engine_on
from testing.servers.shared import ROOT
from testing.worker_processes import MONEY, Workers, eventually, workers_on
from workers.celery_app import make_celery
from workers.flower.front import HEALTHCHECK, MAX_BODY_BYTES

pytestmark = pytest.mark.acceptance

USER, PASSWORD = "operator", "open-sesame"
STEPS = ["money.reserve", "money.deduct", "money.credit", "money.commit"]
on_redis = pytest.mark.parametrize("broker", ["redis"], indirect=True)
"""One kind of broker is enough where the broker does not matter."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass
class FlowerProcess:
    """One Flower process, which a test may end in any way."""

    environment: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start Flower, and wait until it answers."""
        with (self.folder / "flower.log").open("ab") as log:
            self.process = subprocess.Popen(
                launch_command((sys.executable, "-m", "workers.flower.front")),
                cwd=ROOT,
                env=self.environment,
                stderr=log,
            )
        eventually(self.answers, within_s=40)

    def end(self, how: signal.Signals) -> int:
        """Send a signal and wait. Returns: the exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)

    @property
    def folder(self) -> Path:
        return Path(self.environment["DATA_DIR"])

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "flower.log").read_text()
        try:
            return self.ask(HEALTHCHECK, auth=None).text == "OK"
        except requests.ConnectionError:
            return False

    def ask(
        self, path: str, method: str = "GET", auth: Any = (USER, PASSWORD)
    ) -> requests.Response:
        url = f"http://{LOOPBACK}:{self.port}{path}"
        return requests.request(method, url, auth=auth, timeout=20, allow_redirects=False)

    def tasks(self) -> list[dict[str, Any]]:
        return list(self.ask("/api/tasks").json().values())

    def waiting(self) -> dict[str, int | None]:
        """Return how many messages wait in each queue, by name."""
        listed = self.ask("/api/queues/length").json().get("active_queues", [])
        return {queue["name"]: queue.get("messages") for queue in listed}


@dataclass
class Scenario:
    """Flower and a money worker, with the broker and ledger of the worker."""

    flower: FlowerProcess
    workers: Workers
    broker: Broker
    bank: Bank
    app: Celery

    def transfer(self) -> str:
        """Settle a transfer. Returns: its batch, as it is shown in task arguments."""
        source, destination = self.bank.wallet(5_00), self.bank.wallet()
        [id] = self.bank.accept(self.bank.request(source, destination, 1_00))
        chain.kick()
        eventually(lambda: self.bank.state(id) == "committed", within_s=30)
        with self.bank.engine.connect() as connection:
            batch = connection.scalar(
                text("SELECT batch_id FROM outcomes WHERE transfer_id = :id"), {"id": id}
            )
        return f"batch={batch}"

    def shows(self, batch: str) -> Callable[[], bool]:
        """Return a condition: all steps of the batch are shown as successful."""

        def look() -> bool:
            shown = {
                task["name"]: task["state"] for task in self.flower.tasks() if task["args"] == batch
            }
            return shown == dict.fromkeys(STEPS, "SUCCESS")

        return look

    def shown_transfer(self) -> str:
        """Settle transfers until Flower shows one: it misses events from before it listens."""
        deadline_s = time.monotonic() + 60
        while True:
            shown = self.shows(batch := self.transfer())
            next_try_s = time.monotonic() + 3
            while time.monotonic() < next_try_s:
                if shown():
                    return batch
                time.sleep(0.05)
            assert time.monotonic() < deadline_s, self.flower.tasks()


@pytest.fixture(scope="module")
def scenario(
    module_database_url: str,
    broker: Broker,
    cache_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scenario]:
    folder = tmp_path_factory.mktemp("flower")
    with (
        workers_on(module_database_url, broker.url, cache_url, folder) as workers,
        engine_on(module_database_url) as engine,
    ):
        own = {"FLOWER_BASIC_AUTH": f"other:one,{USER}:{PASSWORD}", "ADMIN_API_KEY": "tp_secret"}
        port = free_port()
        flower = FlowerProcess(workers.environment | own | {"FLOWER_PORT": str(port)}, port)
        app = make_celery(Settings.from_environment(workers.environment))
        flower.start()
        workers.ready(MONEY)
        yield Scenario(flower, workers, broker, Bank(engine), app)
        assert flower.end(signal.SIGTERM) == 0


def test_workers_and_the_four_steps_of_a_transfer_are_shown(scenario: Scenario) -> None:
    batch = scenario.shown_transfer()
    workers = scenario.flower.ask("/workers?json=1").json()["data"]
    assert [worker["status"] for worker in workers if worker["hostname"][:5] == "money"] == [True]

    def is_registered() -> bool:
        known = scenario.flower.ask("/api/workers?refresh=1").json()
        return any("money.commit" in worker["registered"] for worker in known.values())

    eventually(is_registered)  # a worker that is busy answers Flower's question too late
    [commit] = [
        task
        for task in scenario.flower.tasks()
        if (task["name"], task["args"]) == (STEPS[3], batch)
    ]
    assert batch in scenario.flower.ask(f"/task/{commit['uuid']}").text


def test_queues_are_listed_by_name_with_or_without_a_consumer(scenario: Scenario) -> None:
    # No worker consumes this queue here, as when the database is away.
    with scenario.app.connection_for_write() as connection:
        scenario.app.amqp.queues[queues.WATCH].bind(connection.channel()).declare()
    before = scenario.flower.waiting()[queues.WATCH] or 0
    for _ in range(3):
        scenario.app.send_task("monitors.servers", queue=queues.WATCH)
    eventually(lambda: scenario.flower.waiting()[queues.WATCH] == before + 3)
    assert set(scenario.flower.waiting()) == {*queues.HINTS, "intake buffer"}
    page = scenario.flower.ask("/broker").text
    assert all(name in page for name in queues.HINTS)
    scenario.broker.purge(queues.WATCH)


def test_it_comes_back_by_itself_after_the_broker_did(scenario: Scenario) -> None:
    scenario.broker.process.kill()
    try:
        assert scenario.flower.ask("/broker").status_code == 200
        assert scenario.flower.ask("/api/queues/length").status_code == 503
        assert scenario.flower.answers()
    finally:
        scenario.broker.process.start()
    scenario.shown_transfer()


def routes() -> list[str]:
    """Return a path for each route of Flower, with a value for each parameter."""
    patterns = [each[0] if isinstance(each, tuple) else each.regex.pattern for each in handlers]
    filled = [re.sub(r"\(\.[+*]\)", "name", pattern).strip("^$") for pattern in patterns]
    return [path.replace("/?", "").replace(".*", "/nowhere") for path in filled]


def test_there_is_a_route_for_each_thing_that_flower_can_do() -> None:
    assert {"/api/worker/shutdown/name", "/api/task/apply/name", "/metrics", "/"} <= set(routes())
    assert len(routes()) > 30


@on_redis
@pytest.mark.parametrize("auth", [None, (USER, "wrong"), ("", ""), (USER.upper(), PASSWORD)])
def test_without_the_password_nothing_is_shown_or_done(scenario: Scenario, auth: Any) -> None:
    for path in routes():
        for method in METHODS:
            answer = scenario.flower.ask(path, method, auth)
            if path == HEALTHCHECK and method in ("GET", "HEAD"):
                assert answer.status_code in (200, 405)
            elif path == HEALTHCHECK:
                assert answer.status_code == 405
            else:
                assert answer.status_code == 401, (method, path)
                assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert scenario.flower.ask("/workers", auth=("other", "one")).status_code == 200


@on_redis
@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic !", "Basic w6k6w6k=", "Bearer b3BlcmF0b3I6b3Blbi1zZXNhbWU=", "x" * 999],
)
def test_a_malformed_password_is_refused_without_an_error(scenario: Scenario, header: str) -> None:
    url = f"http://{LOOPBACK}:{scenario.flower.port}/tasks"
    answer = requests.get(url, headers={"Authorization": header}, timeout=20)
    assert answer.status_code == 401


@on_redis
def test_an_unauthorised_body_is_not_read_before_it_is_refused(scenario: Scenario) -> None:
    with socket.create_connection((LOOPBACK, scenario.flower.port), timeout=20) as connection:
        head = f"POST /tasks/datatable HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}"
        connection.sendall(f"{head}\r\n\r\n".encode())
        # Refused by its headers: a server that waited for the body would not answer yet.
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


@on_redis
def test_nothing_can_be_changed_with_the_password_either(scenario: Scenario) -> None:
    for path in routes():
        for method in METHODS[2:]:
            if (method, path) != ("POST", "/tasks/datatable"):  # which reads
                answer = scenario.flower.ask(path, method)
                assert answer.status_code == 405, (method, path)
    hostname = scenario.flower.ask("/workers?json=1").json()["data"][0]["hostname"]
    for path in (f"/api/worker/shutdown/{hostname}", "/api/task/async-apply/money.reserve"):
        assert scenario.flower.ask(path, "POST").status_code == 405
    page = scenario.flower.ask(f"/worker/{hostname}").text
    assert hostname in page
    assert "Shut Down" not in page
    assert all(worker.is_alive for worker in scenario.workers.started)


def test_no_page_shows_a_secret(scenario: Scenario) -> None:
    scenario.transfer()
    names = ("DATABASE_URL", "BROKER_URL", "CACHE_URL")
    secrets = {Settings.from_environment(scenario.flower.environment).admin_api_key, PASSWORD}
    for name in names:
        found = re.search(r"://[^:]*:([^@]+)@", scenario.flower.environment[name])
        assert found
        secrets.add(found[1])
    hostname = scenario.flower.ask("/workers?json=1").json()["data"][0]["hostname"]
    for path in (*routes(), f"/worker/{hostname}", f"/api/workers?refresh=1&workername={hostname}"):
        page = scenario.flower.ask(path).text
        assert not [secret for secret in secrets if secret and secret in page], path
    command_lines = Path(f"/proc/{scenario.flower.process.pid}/cmdline").read_text()  # type: ignore[union-attr]
    assert PASSWORD not in command_lines


@on_redis
def test_known_tasks_survive_a_restart_and_a_kill(scenario: Scenario) -> None:
    batch = scenario.shown_transfer()
    assert scenario.flower.end(signal.SIGTERM) == 0
    scenario.flower.start()
    assert scenario.shows(batch)()
    scenario.flower.end(signal.SIGKILL)
    # What a kill during saving leaves: the file saved before, and half of a new one.
    (scenario.flower.folder / "flower" / "events.tmp").write_bytes(os.urandom(1000))
    scenario.flower.start()
    assert scenario.shows(batch)()


@on_redis
def test_an_unreadable_file_of_events_does_not_stop_the_start(scenario: Scenario) -> None:
    scenario.flower.end(signal.SIGKILL)
    saved = [file for file in (scenario.flower.folder / "flower").iterdir() if file.is_file()]
    assert saved
    for file in saved:
        file.write_bytes(base64.b64encode(os.urandom(1000)))
    scenario.flower.start()
    scenario.shown_transfer()


@pytest.mark.parametrize("given", [None, "", "no colon"])
def test_it_does_not_start_without_a_password(
    redis_broker: RedisBroker, tmp_path: Path, given: str | None
) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "FLOWER_BASIC_AUTH"},
        **IDENTITY,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "BROKER_URL": redis_broker.url,
        "CACHE_URL": redis_broker.url,
        "DATA_DIR": str(tmp_path),
        "FLOWER_PORT": str(free_port()),
        "FLOWER_UNAUTHENTICATED_API": "true",
    }
    if given is not None:
        environment["FLOWER_BASIC_AUTH"] = given
    command = [sys.executable, "-m", "workers.flower.front"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("flower: FLOWER_BASIC_AUTH ")
    assert done.stderr.count("\n") == 1
