"""Starts and stops of `make up`: each test starts its own stack, or fails to."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from ledger.postgres.database import autocommit, build_engine
from migrations.__main__ import upgrade
from stack.servers.home import find_home
from stack.servers.kept_values import KeptValues
from stack.servers.own import Servers
from stack.servers.postgres import Postgres
from stack.servers.server import Server, running
from testing.fakes.binance import FakeBinance
from testing.identity import IDENTITY
from tests.acceptance.stack.stack_process import (
    PROGRAMS,
    StackProcess,
    complaints,
    eventually,
    gone,
    new_stack,
    run_make_up,
    wallet_of,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def own_stack(servers_folder: Path, request: pytest.FixtureRequest) -> Iterator[StackProcess]:
    """Return a stack for one test, not yet started."""
    stack = new_stack(servers_folder / request.node.name)
    yield stack
    stack.stop()


def test_with_a_fake_binance_prices_are_live_until_it_fails_and_again_after(
    own_stack: StackProcess,
) -> None:
    own_stack.environment["BINANCE_URLS"] = "fake"
    own_stack.start()
    own_stack.wait_until_up()
    eventually("live prices", lambda: own_stack.price_sources() == {"live"})
    port = KeptValues(own_stack.data_dir / "secrets").read("binance-port")
    binance = FakeBinance(f"http://127.0.0.1:{port}")
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
    folder = servers_folder / "servers of another owner"
    folder.mkdir(mode=0o711)
    servers = Servers(find_home(folder, say=print), KeptValues(folder / "secrets"))
    given: dict[str, Server] = {
        "DATABASE_URL": (given_postgres := servers.postgres()),
        "BROKER_URL": servers.broker(),
        "CACHE_URL": servers.cache(),
    }
    with ExitStack() as stack:
        for name, server in given.items():
            stack.enter_context(running(server, log=folder / "log"))
            own_stack.environment[name] = server.url
        own_stack.environment["MIGRATIONS_DATABASE_URL"] = given_postgres.owner_url
        own_stack.environment |= IDENTITY
        own_stack.environment["ADMIN_API_KEY"] = "an-admin's-key-of-their-own"
        own_stack.environment["DEMO"] = "yes"
        own_stack.start()
        own_stack.wait_until_up()
        assert own_stack.settles_a_transfer()
        assert own_stack.shown("admin key") == "as given in ADMIN_API_KEY"
        own_stack.stop()
        for server in given.values():
            server.probe()
    assert not (own_stack.data_dir / "servers").exists()
    assert not (own_stack.data_dir / "secrets" / "admin-api-key").exists()


def test_a_database_that_is_given_gets_one_admin_and_no_demo(
    own_stack: StackProcess, servers_folder: Path
) -> None:
    folder = servers_folder / "database of another owner"
    folder.mkdir(mode=0o711)
    postgres = Servers(find_home(folder, say=print), KeptValues(folder / "secrets")).postgres()
    with running(postgres, log=folder / "log"):
        own_stack.environment |= {**IDENTITY, "DATABASE_URL": postgres.owner_url}
        own_stack.start()
        own_stack.wait_for("DEMO=yes makes one")
        kept_key = own_stack.data_dir / "secrets" / "admin-api-key"
        assert own_stack.shown("admin key") == f"in {kept_key}"
        assert f"127.0.0.1:{postgres.port}" in own_stack.text()
        assert postgres.owner_password not in own_stack.text()
        own_stack.stop()
        assert rows(postgres, "clients") == 1
        assert rows(postgres, "wallets WHERE kind <> 'transit'") == 0

        second = new_stack(own_stack.data_dir.with_name("the second folder"))
        second.environment |= {**IDENTITY, "DATABASE_URL": postgres.owner_url, "DEMO": "yes"}
        try:
            second.start()
            second.wait_for("give the admin key in ADMIN_API_KEY")
            assert second.shown("admin key").startswith("unknown: ")
        finally:
            second.stop()
        assert rows(postgres, "clients") == 1
        assert not (second.data_dir / "secrets" / "admin-api-key").exists()


def test_a_database_that_is_given_for_once_costs_the_own_one_no_admin_key(
    own_stack: StackProcess, servers_folder: Path
) -> None:
    folder = servers_folder / "database of another truepenny"
    folder.mkdir(mode=0o711)
    postgres = Servers(find_home(folder, say=print), KeptValues(folder / "secrets")).postgres()
    own_stack.start()
    own_stack.wait_until_up()
    own_stack.stop()
    kept_key = own_stack.data_dir / "secrets" / "admin-api-key"
    key = kept_key.read_text()
    with running(postgres, log=folder / "log"):
        engine = build_engine(postgres.owner_url, application_name="test")
        upgrade(
            engine,
            installation_id=IDENTITY["INSTALLATION_ID"],
            admin_api_key="the-admin's-key-of-the-other-one",
        )
        engine.dispose()
        own_stack.environment["DATABASE_URL"] = postgres.owner_url
        own_stack.start()
        eventually("the refusal of the other id", lambda: own_stack.make.poll() is not None)
        own_stack.wait()
        assert "belongs to the installation 'test'" in own_stack.text()
        assert kept_key.read_text() == key

        own_stack.environment |= IDENTITY
        own_stack.start()
        own_stack.wait_for("DEMO=yes makes one")
        assert own_stack.shown("admin key").startswith(
            "unknown: this database already has an admin"
        )
        own_stack.stop()
    assert kept_key.read_text() == key


def rows(postgres: Postgres, table: str) -> int:
    engine = build_engine(postgres.owner_url, application_name="test")
    with autocommit(engine) as connection:
        found = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608 - the table's name is ours
    engine.dispose()
    return int(found)


@pytest.mark.parametrize("missing", IDENTITY)
def test_a_given_server_needs_what_its_other_users_have_too(
    own_stack: StackProcess, missing: str
) -> None:
    own_stack.environment |= {**IDENTITY, "BROKER_URL": "redis://127.0.0.1:1/0", missing: ""}
    result = run_make_up(own_stack)
    assert result.returncode != 0
    (line,) = complaints(result)
    assert line.startswith(f"truepenny: {missing} must be set too, because BROKER_URL is set")
    assert "openssl rand" in line
    assert not (own_stack.data_dir / "servers").exists()


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
        ("BROKER_URL", "redis://:secret@x/0?oops=secret", "BROKER_URL can have the options ssl_"),
        ("CACHE_URL", "redis://:secret@[x:1/0", "CACHE_URL cannot be read"),
        (
            "CACHE_URL",
            "redis://:secret@x/0?socket_timeout=secret",
            "CACHE_URL can have the options ssl_",
        ),
        (
            "MIGRATIONS_DATABASE_URL",
            "postgresql://u:secret@x/x",
            "MIGRATIONS_DATABASE_URL is given without DATABASE_URL: set both, or neither",
        ),
        ("DEMO", "perhaps", "DEMO must be yes or no, not 'perhaps'"),
        ("DATA_DIR", "/proc/nothing", "DATA_DIR /proc/nothing cannot be used"),
    ],
)
def test_a_setting_that_cannot_work_is_one_clear_line(
    own_stack: StackProcess, name: str, value: str, complaint: str
) -> None:
    own_stack.environment |= {**IDENTITY, name: value}
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
