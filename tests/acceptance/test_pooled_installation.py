"""A whole installation behind PgBouncer in transaction mode, and starts that cannot work."""

from __future__ import annotations

import os
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import pytest

from ledger.clients import create_client
from ledger.postgres.database import build_engine, transaction
from stack.servers.own import Servers
from stack.servers.ports import free_port
from testing.bank import Bank
from testing.http_client import Caller, serving
from testing.identity import IDENTITY
from testing.servers.pgbouncer import pooled
from testing.servers.shared import ROOT
from testing.worker_processes import BEAT, MONEY, SCANS, eventually, workers_on

pytestmark = pytest.mark.acceptance


def test_api_workers_and_scans_work_behind_a_pooler(
    own_database_url: str,
    broker_url: str,
    cache_url: str,
    servers: Servers,
    servers_folder: Path,
    tmp_path: Path,
) -> None:
    engine = build_engine(own_database_url, application_name="test")
    bank = Bank(engine)
    with transaction(engine) as connection:
        owner, key = create_client(connection, name="x", scope="client", rate_limit="none")
        _, admin_key = create_client(connection, name="y", scope="admin", rate_limit="none")
    source, destination = bank.wallet(100_00, owner=owner), bank.wallet(owner=owner)
    body = {"source": str(source.id), "destination": str(destination.id)}
    with (
        pooled(own_database_url, servers, servers_folder) as url,
        workers_on(url, broker_url, cache_url, tmp_path) as workers,
        serving(
            log=tmp_path / "api.log",
            DATABASE_URL=url,
            BROKER_URL=broker_url,
            CACHE_URL=cache_url,
        ) as port,
    ):
        workers.start(BEAT)
        workers.ready(MONEY, SCANS)
        client, admin = Caller(port, key), Caller(port, admin_key)
        for _ in range(20):
            answer = client.submit({**body, "asset": "USD", "amount": "1.00"}, prefer="wait=20")
            assert answer.json()["state"] == "committed"
        begun = admin.post("/v1/reconciliations", {})
        assert begun.status_code in (HTTPStatus.ACCEPTED, HTTPStatus.CREATED, HTTPStatus.OK)
        eventually(
            lambda: (
                admin.get("/v1/reconciliations?limit=1").json()["data"][0]["state"] == "finished"
            ),
            within_s=60,
        )
        [run] = admin.get("/v1/reconciliations?limit=1").json()["data"]
        assert run["findings_count"] == 0
        assert admin.get("/health").json()["components"]["database"]["status"] != "down"
    bank.audit()
    engine.dispose()


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "gunicorn", "-c", "api/gunicorn.conf.py", "wsgi:app"),
        ("-m", "workers", "worker", "--hostname", "money@x", "--queues", "money.reserve"),
        ("-m", "migrations"),
    ],
)
def test_a_database_that_refuses_the_connection_is_one_clear_line_at_the_start(
    own_database_url: str, cache_url: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    wrong = own_database_url.replace("truepenny_app:", "truepenny_app:not-")
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={
            **os.environ,
            **IDENTITY,
            "DATABASE_URL": wrong,
            "BROKER_URL": cache_url,
            "CACHE_URL": cache_url,
            "DATA_DIR": str(tmp_path),
            "PORT": str(free_port()),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if "refuses the connection" in line]
    assert len(lines) == 1, done.stderr
    assert 'password authentication failed for user "truepenny_app"' in lines[0]
    assert "not-" not in done.stderr
    assert "Traceback" not in done.stderr
