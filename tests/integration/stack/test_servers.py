"""Servers of the stack: configuration, passwords, restarts, and the account they run as."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis

from stack.servers.home import find_home
from stack.servers.kept_values import KeptValues
from stack.servers.own import Servers
from stack.servers.server import running
from testing.worker_processes import eventually


def ask(url: str, query: str) -> str:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
        return str(row[0]) if row else ""


@pytest.fixture(scope="module")
def durable_url(servers_folder: Path) -> Iterator[str]:
    """The database of a server as the stack starts it; that of other tests does not flush."""
    folder = servers_folder / "durable"
    folder.mkdir(mode=0o711)
    postgres = Servers(find_home(folder, say=print), KeptValues(folder / "secrets")).postgres()
    with running(postgres, log=folder / "postgres.log"):
        yield postgres.url


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("password_encryption", "scram-sha-256"),
        ("server_encoding", "UTF8"),
        ("data_checksums", "on"),
    ],
)
def test_postgres_runs_with(durable_url: str, setting: str, value: str) -> None:
    assert ask(durable_url, f"SHOW {setting}") == value


def test_the_ledger_is_no_superuser(durable_url: str) -> None:
    query = "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    assert ask(durable_url, query) == "False"


@pytest.mark.parametrize(
    ("setting", "broker_value", "cache_value"),
    [
        ("maxmemory-policy", "noeviction", "allkeys-lru"),
        ("maxmemory", str(512 * 1024**2), str(64 * 1024**2)),
        ("appendonly", "yes", "no"),
        ("appendfsync", "always", "everysec"),
        ("save", "", ""),
        ("bind", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_two_roles_of_redis(
    broker_url: str, cache_url: str, setting: str, broker_value: str, cache_value: str
) -> None:
    for url, value in ((broker_url, broker_value), (cache_url, cache_value)):
        with redis.Redis.from_url(url, decode_responses=True) as client:
            assert client.config_get(setting) == {setting: value}


def test_no_server_answers_without_its_password(database_url: str, broker_url: str) -> None:
    user, _, server = database_url.partition("@")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(f"{user}x@{server}")
    with (
        redis.Redis.from_url("redis://" + broker_url.partition("@")[2]) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_a_restart_finds_the_data_and_the_port_again(servers_folder: Path) -> None:
    folder = servers_folder / "a second stack"
    folder.mkdir(mode=0o711)
    urls = []
    for _ in range(2):
        servers = Servers(find_home(folder, say=print), KeptValues(folder / "secrets"))
        postgres, broker = servers.postgres(), servers.broker()
        with (
            running(postgres, log=folder / "postgres.log"),
            running(broker, log=folder / "broker.log"),
            redis.Redis.from_url(broker.url) as client,
            closing(psycopg2.connect(postgres.owner_url)) as connection,
            connection.cursor() as cursor,
        ):
            client.incr("starts")
            cursor.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
            cursor.execute("INSERT INTO starts DEFAULT VALUES")
            connection.commit()
            cursor.execute("SELECT count(*) FROM starts")
            urls.append((postgres.url, broker.url, cursor.fetchone(), client.get("starts")))
    first, second = urls
    assert first[:2] == second[:2]
    assert second[2:] == ((2,), b"2")


def test_a_server_dies_with_the_process_that_started_it(servers_folder: Path) -> None:
    folder = servers_folder / "orphaned"
    folder.mkdir(mode=0o711)
    starter = f"""
import os, signal
from pathlib import Path
from stack.servers.kept_values import KeptValues
from stack.servers.home import find_home
from stack.servers.server import running
from stack.servers.own import Servers
folder = Path({str(folder)!r})
broker = Servers(find_home(folder, say=print), KeptValues(folder / "secrets")).broker()
with running(broker, log=folder / "broker.log"):
    print(broker.url, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.run(
        [sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, check=False
    )
    assert process.returncode == -9
    with redis.Redis.from_url(process.stdout.strip()) as client:
        eventually(lambda: refuses(client), within_s=10)


def refuses(client: redis.Redis) -> bool:
    try:
        client.ping()
    except redis.ConnectionError:
        return True
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has privileges to give up")
def test_root_runs_servers_as_nobody_else(servers_folder: Path, broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as client:
        pid = client.info("server")["process_id"]
    status = Path(f"/proc/{pid}/status").read_text()
    ids = dict(line.split(":", 1) for line in status.splitlines())
    assert set(ids["Uid"].split()) == set(ids["Gid"].split()) == {"64738"}
    assert ids["Groups"].split() == []
    assert (servers_folder / "servers" / "broker").stat().st_mode & 0o777 == 0o700
