"""A database on another server: nothing uses it until an operator accepts it, by one command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ledger.clients import create_client
from ledger.errors import Unaccepted
from ledger.postgres.database import build_engine, probe, transaction
from stack.servers.ports import free_port
from stack.servers.postgres import OWNER, Postgres
from testing.bank import Bank
from testing.http_client import ROOT, Caller, serving
from testing.identity import IDENTITY
from testing.servers.breakable import breakable
from testing.servers.own_servers import own_servers
from testing.servers.service_name import service_name
from testing.servers.shared import migrate
from testing.servers.standby import run
from testing.servers.throwaway import as_owner
from testing.worker_processes import MONEY, eventually

SAID = "The database was restored or upgraded"


@dataclass(frozen=True)
class Restored:
    """Two servers: the original, and another cluster with what was dumped from it."""

    original: Postgres
    copy: Postgres
    api_key: str
    body: dict[str, str]

    def transfers(self, server: Postgres) -> int:
        return int(str(run(server, "SELECT count(*) FROM transfers", database=OWNER)))


@pytest.fixture
def restored(servers_folder: Path) -> Iterator[Restored]:
    servers = own_servers(servers_folder)
    original, logs = servers.postgres(), servers.home.data
    copy = replace(original, name="restored", port=free_port())
    with ExitStack() as stack:
        stack.enter_context(breakable(original, logs / "original.log"))
        stack.enter_context(breakable(copy, logs / "copy.log"))
        migrate(original.url)
        engine = build_engine(original.url, application_name="test")
        bank = Bank(engine)
        with transaction(engine) as connection:
            client, api_key = create_client(
                connection, name="client", scope="client", rate_limit="none"
            )
        source, destination = bank.wallet(1000, owner=client), bank.wallet(owner=client)
        engine.dispose()
        dump = [str(servers.home.postgres_binaries / "pg_dump"), original.owner_url]
        script = subprocess.run(dump, check=True, capture_output=True).stdout
        load = [str(servers.home.postgres_binaries / "psql"), "-v", "ON_ERROR_STOP=1"]
        subprocess.run([*load, copy.owner_url], input=script, check=True, stdout=subprocess.DEVNULL)
        body = {"source": str(source.id), "destination": str(destination.id)}
        yield Restored(original, copy, api_key, {**body, "asset": "USD", "amount": "0.01"})


def start(
    url: str, cache_url: str, folder: Path, *command: str
) -> subprocess.CompletedProcess[str]:
    """Run a program that is to end by itself."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={
            **os.environ,
            **IDENTITY,
            "DATABASE_URL": url,
            "MIGRATIONS_DATABASE_URL": as_owner(url),
            "BROKER_URL": cache_url,
            "CACHE_URL": cache_url,
            "DATA_DIR": str(folder),
            "PORT": str(free_port()),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_program_refuses_to_start_on_it_and_names_the_command(
    restored: Restored, cache_url: str, tmp_path: Path
) -> None:
    url = restored.copy.url
    for command in (
        ("-m", "gunicorn", "-c", "api/gunicorn.conf.py", "wsgi:app"),
        ("-m", "celery", "-A", "workers.app", *MONEY),
        ("-m", "migrations"),
        ("-m", "migrations", "--patience", "40"),
        ("-m", "tasks.buffer", "list"),
    ):
        done = start(url, cache_url, tmp_path, *command)
        assert done.returncode != 0
        said = [line for line in (done.stdout + done.stderr).splitlines() if SAID in line]
        assert len(said) == 1, done.stderr
        assert said[0].endswith("`python -m migrations --accept-server` accepts it.")
        assert "Traceback" not in done.stderr
    engine = build_engine(url, application_name="test", pool_size=0)
    with pytest.raises(Unaccepted):
        probe(engine)
    assert start(url, cache_url, tmp_path, "-m", "migrations", "--accept-server").returncode == 0
    assert start(url, cache_url, tmp_path, "-m", "migrations").returncode == 0
    probe(engine)


def test_a_running_api_that_is_led_to_it_buffers_until_it_is_accepted(
    restored: Restored, broker_url: str, cache_url: str, tmp_path: Path
) -> None:
    original, copy = restored.original, restored.copy
    before = restored.transfers(copy)
    with service_name(original.port) as service:
        url = original.url.replace(f":{original.port}/", f":{service.port}/")
        urls = {"DATABASE_URL": url, "BROKER_URL": broker_url, "CACHE_URL": cache_url}
        with serving(log=tmp_path / "api.log", **urls) as port:
            client = Caller(port, restored.api_key)
            assert client.submit(restored.body).json()["state"] == "accepted"
            written = restored.transfers(original)
            service.move_to(copy.port)
            eventually(lambda: client.get("/v1/wallets").status_code == 503)
            assert client.submit(restored.body).json()["state"] == "buffered"
            database = client.get("/health").json()["components"]["database"]
            assert database["status"] == "down"
            assert "restored or upgraded: `python -m migrations --accept" in database["detail"]
            accepted = start(url, cache_url, tmp_path, "-m", "migrations", "--accept-server")
            assert accepted.returncode == 0, accepted.stderr
            eventually(lambda: client.get("/v1/wallets").status_code == 200)
            answers = [client.submit(restored.body) for _ in range(10)]
            assert {answer.json()["state"] for answer in answers} == {"accepted"}
            database = client.get("/health").json()["components"]["database"]
            assert database["detail"].startswith("answers"), database  # fsync is off in tests
            assert "is not used" not in database["detail"]
        assert restored.transfers(original) == written, "a connection that stayed open is not used"
        assert restored.transfers(copy) == before + 10
