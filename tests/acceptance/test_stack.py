"""`make up` as a stranger meets it: one command, real processes, whatever dies."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import requests

from stack.keep import Keep
from stack.place import find_place
from stack.ports import free_port
from stack.server import Server, running
from stack.servers import Servers
from tests.acceptance.stack_process import (
    PROGRAMS,
    StackProcess,
    complaints,
    eventually,
    run_make_up,
)
from tests.fake_binance import Remote

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack(servers_folder: Path) -> Iterator[StackProcess]:
    """A running stack that the tests of this file share, and leave running."""
    stack = new_stack(servers_folder / "shared stack 100%")
    stack.environment["HUNG_AFTER_S"] = "10"
    stack.start()
    try:
        stack.wait_until_up()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def own_stack(servers_folder: Path, request: pytest.FixtureRequest) -> Iterator[StackProcess]:
    """A stack for one test, not yet started."""
    stack = new_stack(servers_folder / request.node.name)
    yield stack
    stack.stop()


def new_stack(data_dir: Path) -> StackProcess:
    return StackProcess(data_dir, port=free_port(), flower_port=free_port())


def paste(line: str) -> dict[str, Any]:
    output = subprocess.check_output(["bash", "-c", line], text=True, timeout=30)
    answer: dict[str, Any] = json.loads(output)
    return answer


def wallet_of(stack: StackProcess, role: str, transfer: dict[str, Any]) -> dict[str, Any]:
    response = requests.get(
        f"{stack.url}/v1/wallets/{transfer[role]}",
        headers={"Authorization": f"Bearer {stack.shown('demo key')}"},
        timeout=10,
    )
    wallet: dict[str, Any] = response.json()
    return wallet


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all have ended; psutil knows a process from a later one with the same id."""
    return not any(process.is_running() for process in processes)


def test_it_prints_addresses_that_answer(stack: StackProcess) -> None:
    assert stack.shown("API").startswith(stack.url)
    assert requests.get(f"{stack.url}/health/live", timeout=10).ok
    assert "text/html" in requests.get(f"{stack.url}/docs", timeout=10).headers["Content-Type"]


def test_flower_answers_to_the_printed_password_only(stack: StackProcess) -> None:
    user, password = stack.shown("Flower").rpartition("(")[2].rstrip(")").split(":")
    assert requests.get(stack.flower_url, timeout=10).status_code == requests.codes.unauthorized
    eventually(
        "Flower's page",
        lambda: requests.get(stack.flower_url, auth=(user, password), timeout=10).ok,
    )


def test_the_printed_curl_line_moves_money_once(stack: StackProcess) -> None:
    line = stack.curl_line()
    assert line
    first = paste(line)
    assert first["state"] == "committed"
    balance = wallet_of(stack, "destination", first)["balance"]
    repeated = paste(line)
    assert repeated["id"] == first["id"]
    assert wallet_of(stack, "destination", first)["balance"] == balance


def test_the_admin_key_is_where_it_says(stack: StackProcess) -> None:
    file = Path(stack.shown("admin key").removeprefix("in "))
    assert file.stat().st_mode & 0o777 == 0o600
    headers = {"Authorization": f"Bearer {file.read_text()}"}
    assert requests.get(f"{stack.url}/v1/wallets", headers=headers, timeout=10).ok


def test_no_secret_is_in_a_command_line_or_a_file_for_all(stack: StackProcess) -> None:
    kept = (stack.data_dir / "secrets").iterdir()
    secrets = [file.read_text() for file in kept if not file.name.endswith("-port")]
    command_lines = "\n".join(" ".join(process.cmdline()) for process in stack.processes())
    assert not [secret for secret in secrets if secret in command_lines]
    readable = [path for path in stack.data_dir.iterdir() if path.stat().st_mode & 0o044]
    assert readable == []


@pytest.mark.parametrize("program", [*PROGRAMS, "supervisord"])
def test_what_is_killed_comes_back(stack: StackProcess, program: str) -> None:
    if program == "supervisord":
        victim = psutil.Process(int((stack.data_dir / "run" / "supervisord.pid").read_text()))
        victims = [victim, *victim.children(recursive=True)]
    else:
        victim = psutil.Process(stack.pid_of(program))
        victims = [victim]
    restarted = PROGRAMS if program == "supervisord" else (program,)
    old_pids = {name: stack.pid_of(name) for name in restarted}
    victim.send_signal(signal.SIGKILL)
    eventually("the end", lambda: gone(victims))
    eventually("a new start", lambda: all(stack.pid_of(n) != pid for n, pid in old_pids.items()))
    eventually("a settled transfer", stack.settles_a_transfer)
    assert "ended" in stack.text()


def test_without_internet_it_is_healthy_and_says_that_its_prices_are_static(
    stack: StackProcess,
) -> None:
    eventually(
        "a look at Binance",
        lambda: "no_prices_from_binance" in (stack.data_dir / "logs" / "scans.log").read_text(),
    )
    assert stack.price_sources() == {"static"}
    health = requests.get(f"{stack.url}/health", timeout=10)
    assert health.status_code == requests.codes.ok
    assert health.json()["components"]["prices"]["detail"].startswith("static: ")


def test_with_a_fake_binance_prices_are_live_until_it_fails_and_again_after(
    own_stack: StackProcess,
) -> None:
    own_stack.environment["BINANCE_URLS"] = "fake"
    own_stack.start()
    own_stack.wait_until_up()
    eventually("live prices", lambda: own_stack.price_sources() == {"live"})
    port = Keep(own_stack.data_dir / "secrets").read("binance-port")
    binance = Remote(f"http://127.0.0.1:{port}")
    binance.fault("status", status=500)
    eventually("stale prices", lambda: own_stack.price_sources() == {"stale"})
    binance.heal()
    eventually("live prices again", lambda: own_stack.price_sources() == {"live"})

    binance.fault("status", status=418, retry_after="3600")
    log = own_stack.data_dir / "logs" / "scans.log"
    eventually("a look that met the ban", lambda: "binance_paused" in log.read_text())
    asked = len(binance.asked())
    worker = psutil.Process(own_stack.pid_of("scans"))
    worker.kill()
    eventually("the end of the worker", lambda: gone([worker]))
    said = log.read_text().count("paused for another")
    eventually("a new one's look", lambda: log.read_text().count("paused for another") > said)
    assert len(binance.asked()) == asked


def test_what_hangs_is_ended_and_comes_back(stack: StackProcess) -> None:
    eventually("a settled transfer", stack.settles_a_transfer)
    hung = ("money", "scans", "beat")
    # One that still starts would be given more time.
    eventually("heartbeats", lambda: all(map(stack.beats_for_a_while, hung)))
    old_pids = {name: stack.pid_of(name) for name in hung}
    for pid in old_pids.values():
        psutil.Process(pid).send_signal(signal.SIGSTOP)
    accepted = stack.transfer().json()
    assert accepted["state"] == "accepted"
    eventually("a new start", lambda: all(stack.pid_of(n) != pid for n, pid in old_pids.items()))
    eventually("a settled transfer", stack.settles_a_transfer)
    eventually("the end of what waited", lambda: stack.state_of(accepted["id"]) == "committed")
    for name in hung:
        assert f"truepenny: {name} shows no sign of life" in stack.text()


def test_a_broker_that_may_lose_messages_is_told_of_in_plain_words(stack: StackProcess) -> None:
    keep = Keep(stack.data_dir / "secrets")
    port, password = keep.read("broker-port"), keep.read("broker-password")
    with redis.Redis.from_url(f"redis://:{password}@127.0.0.1:{port}/0") as broker:
        broker.config_set("maxmemory-policy", "allkeys-lru")
        report = requests.get(f"{stack.url}/health", timeout=10).json()
        assert report["components"]["broker"]["status"] == "degraded"
        assert "throws messages away" in report["components"]["broker"]["detail"]
        eventually("the warning", lambda: "server_amiss server=broker" in stack.text())
        broker.config_set("maxmemory-policy", "noeviction")


def test_a_second_make_up_beside_it_says_so_and_harms_nothing(stack: StackProcess) -> None:
    result = run_make_up(stack)
    assert result.returncode != 0
    (complaint,) = complaints(result)
    assert complaint == f"truepenny: `make up` is already running with DATA_DIR {stack.data_dir}"
    assert stack.settles_a_transfer()


def test_a_second_run_finds_its_data_again(own_stack: StackProcess) -> None:
    own_stack.start()
    own_stack.wait_until_up()
    transfer = own_stack.transfer().json()
    balances = [wallet_of(own_stack, role, transfer) for role in ("source", "destination")]
    key, line, processes = own_stack.shown("demo key"), own_stack.curl_line(), own_stack.processes()
    assert len(processes) > len(PROGRAMS)
    own_stack.press_ctrl_c()
    own_stack.wait()
    assert gone(processes)
    assert own_stack.text().endswith("truepenny: stopped\n")

    own_stack.start()
    own_stack.wait_until_up()
    processes = own_stack.processes()
    assert own_stack.shown("demo key") == key
    assert own_stack.curl_line() != line, "the idempotency key is a fresh one"
    found = [wallet_of(own_stack, role, transfer) for role in ("source", "destination")]
    assert found == balances
    own_stack.make.send_signal(signal.SIGTERM)
    own_stack.wait()
    assert gone(processes)


def test_killing_it_leaves_no_process_and_the_next_one_works(own_stack: StackProcess) -> None:
    own_stack.start()
    own_stack.wait_until_up()
    processes = own_stack.processes()
    (up,) = processes[0].children()
    up.send_signal(signal.SIGKILL)
    own_stack.wait()

    own_stack.start()
    own_stack.wait_until_up()
    assert gone(processes)
    assert own_stack.settles_a_transfer()
    processes = own_stack.processes()
    own_stack.make.send_signal(signal.SIGKILL)
    own_stack.wait()
    eventually("the end of every process", lambda: gone(processes))


@pytest.mark.parametrize("moment", ["", "starting, with data", "supervisord.pid", "ready"])
@pytest.mark.parametrize("whom", ["the terminal", "make alone"])
def test_an_interrupt_works_at_any_moment_of_the_start(
    own_stack: StackProcess, moment: str, whom: str
) -> None:
    own_stack.start()
    eventually(
        moment, lambda: moment in own_stack.text() or (own_stack.data_dir / "run" / moment).exists()
    )
    processes = own_stack.processes()
    if whom == "the terminal":
        own_stack.press_ctrl_c()
    else:
        own_stack.make.send_signal(signal.SIGINT)
    own_stack.wait()
    assert gone(processes)
    assert "Traceback" not in own_stack.text()


def test_servers_that_are_given_are_used_and_left_running(
    own_stack: StackProcess, servers_folder: Path
) -> None:
    folder = servers_folder / "servers of somebody else"
    folder.mkdir(mode=0o711)
    servers = Servers(find_place(folder, say=print), Keep(folder / "secrets"))
    given: dict[str, Server] = {
        "DATABASE_URL": servers.postgres(),
        "BROKER_URL": servers.broker(),
        "CACHE_URL": servers.cache(),
    }
    with ExitStack() as stack:
        for name, server in given.items():
            stack.enter_context(running(server, log=folder / "log"))
            own_stack.environment[name] = server.url
        own_stack.environment["ADMIN_API_KEY"] = "an-admin's-key-of-their-own"
        own_stack.start()
        own_stack.wait_until_up()
        assert own_stack.settles_a_transfer()
        assert own_stack.shown("admin key") == "as given in ADMIN_API_KEY"
        own_stack.stop()
        for server in given.values():
            server.probe()
    assert not (own_stack.data_dir / "servers").exists()
    assert not (own_stack.data_dir / "secrets" / "admin-api-key").exists()


@pytest.mark.parametrize("name", ["PORT", "FLOWER_PORT"])
def test_a_port_in_use_is_one_clear_line(own_stack: StackProcess, name: str) -> None:
    with socket.create_server(("127.0.0.1", int(own_stack.environment[name]))):
        result = run_make_up(own_stack)
    assert result.returncode != 0
    port = own_stack.environment[name]
    assert complaints(result) == [
        f"truepenny: port {port} is in use: stop what uses it or set {name}"
    ]
    assert not (own_stack.data_dir / "servers").exists()


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("PORT", "eighty", "PORT must be a port from 1 to 65535, not 'eighty'"),
        ("HOST", "192.0.2.1", "cannot listen on 192.0.2.1"),
        ("BROKER_URL", "http://x", "BROKER_URL must start with one of: redis, rediss, amqp, amqps"),
        ("DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/x", "DATABASE_URL does not answer"),
        ("BROKER_URL", "redis://:secret@127.0.0.1:1/0", "BROKER_URL does not answer"),
        ("BROKER_URL", "amqp://u:secret@127.0.0.1:1//", "BROKER_URL does not answer"),
        ("CACHE_URL", "redis://:secret@127.0.0.1:1/0", "CACHE_URL does not answer"),
        ("DATABASE_URL", "postgresql://u:secret@x:port/x", "DATABASE_URL cannot be read"),
        ("DATABASE_URL", "postgresql://u:%zzsecret@x/x", "DATABASE_URL cannot be read"),
        ("DATABASE_URL", "postgresql://u:secret@x/x?oops=1", "DATABASE_URL cannot be read"),
        ("BROKER_URL", "redis://:secret@127.0.0.1:1/0?oops=secret", "BROKER_URL cannot be read"),
        ("CACHE_URL", "redis://:secret@[x:1/0", "CACHE_URL cannot be read"),
        ("CACHE_URL", "redis://:secret@x/0?socket_timeout=secret", "CACHE_URL cannot be read"),
        ("DATA_DIR", "/proc/nothing", "DATA_DIR /proc/nothing cannot be used"),
    ],
)
def test_a_setting_that_cannot_work_is_one_clear_line(
    own_stack: StackProcess, name: str, value: str, complaint: str
) -> None:
    own_stack.environment[name] = value
    result = run_make_up(own_stack)
    assert result.returncode != 0
    (line,) = complaints(result)
    assert line.startswith(f"truepenny: {complaint}")
    assert "secret" not in line


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo 3.9; exit 1", "Python 3.11 or newer is needed, and {python} is 3.9"),
        ("echo 3.12; exit 1", "Python 3.12 lacks its venv module"),
        ("exit 127", "Python 3.11 or newer is needed, and {python} was not found"),
    ],
)
def test_a_python_that_will_not_do_is_one_clear_line(
    own_stack: StackProcess, tmp_path: Path, script: str, complaint: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    own_stack.environment["PYTHON"] = str(python)
    result = run_make_up(own_stack)
    assert result.returncode != 0
    (line,) = complaints(result)
    assert line.startswith(f"truepenny: {complaint.format(python=python)}")
