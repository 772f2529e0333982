"""Broker and cache behind TLS: every part verifies them, each by the same options of the URL."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from amqp import AMQPError
from kombu.exceptions import OperationalError

from ledger.buffer.entries import Buffered
from ledger.clients import create_client
from ledger.errors import Unavailable
from ledger.postgres.database import build_engine, transaction
from monitoring.health.broker_probe import broker_probe, redis_client
from settings import Settings
from stack.servers.external import GivenBroker, GivenCache
from tasks.buffer.intake_buffer import intake_buffer
from testing.bank import Bank
from testing.http_client import Caller, serving
from testing.identity import IDENTITY
from testing.servers.brokers import Broker
from testing.servers.tls_proxy import HOST, make_certificate, tls_in_front_of
from testing.worker_processes import BEAT, MONEY, SCANS, eventually, workers_on
from workers.celery_app import make_celery
from workers.flower import queues as flower_queues

pytestmark = pytest.mark.acceptance

ENCRYPTED = {"redis": "rediss", "amqp": "amqps"}
AWAY = (OSError, redis.RedisError, AMQPError, OperationalError, Unavailable)


@dataclass(frozen=True)
class Encrypted:
    """Addresses of broker and cache behind TLS, and the certificates."""

    broker_url: str
    cache_url: str
    authority: Path
    other_authority: Path

    def verified_by(self, authority: Path | None, options: str = "", host: str = HOST) -> Encrypted:
        """Return the same addresses with an authority, or with those of the system."""
        option = [f"ssl_ca_certs={authority}"] if authority else []
        query = "&".join([*option, *filter(None, [options])])
        return replace(
            self,
            broker_url=f"{self.broker_url}?{query}".rstrip("?").replace(HOST, host),
            cache_url=f"{self.cache_url}?{query}".rstrip("?").replace(HOST, host),
        )

    def settings(self, database_url: str = "postgresql://nowhere") -> Settings:
        return Settings.from_environment(self.environment(database_url))

    def environment(self, database_url: str) -> dict[str, str]:
        urls = {"BROKER_URL": self.broker_url, "CACHE_URL": self.cache_url}
        return {**IDENTITY, **urls, "DATABASE_URL": database_url}


def encrypted_url(url: str, port: int) -> str:
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    return f"{ENCRYPTED[parts.scheme]}://{credentials}@{HOST}:{port}{parts.path}"


@pytest.fixture(scope="module")
def encrypted(
    broker: Broker, cache_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(folder, "ours")
    other, _ = make_certificate(folder, "another")
    with ExitStack() as stack:
        urls = []
        for url in (broker.url, cache_url):
            plain_port = urlsplit(url).port
            assert plain_port
            port = stack.enter_context(tls_in_front_of(plain_port, certificate, key))
            urls.append(encrypted_url(url, port))
        yield Encrypted(urls[0], urls[1], certificate, other)


def ways_to_the_servers(settings: Settings) -> dict[str, Callable[[], object]]:
    """Return each way on which a part of ours connects to broker or cache."""

    def celery() -> None:
        with make_celery(settings).connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            connection.channel()

    def probe() -> None:
        with closing(broker_probe(settings.broker_url)) as opened:
            opened.read(was_full=False)

    def buffer() -> None:
        with closing(intake_buffer(settings)) as opened:
            opened.count()

    return {
        "celery": celery,
        "probe": probe,
        "buffer": buffer,
        "make up, broker": GivenBroker(settings.broker_url).probe,
        "make up, cache": GivenCache(settings.cache_url).probe,
        "cache": lambda: redis_client(settings.cache_url).ping(),
    }


def answers(settings: Settings) -> dict[str, bool]:
    found = {}
    for name, connect in ways_to_the_servers(settings).items():
        try:
            connect()
            found[name] = True
        except AWAY:
            found[name] = False
    return found


@pytest.mark.parametrize(
    ("authority", "options", "host", "expected"),
    [
        ("own", "", HOST, True),
        ("other", "", HOST, False),
        ("system's", "", HOST, False),
        ("own", "", "127.0.0.1", False),
        ("own", "ssl_check_hostname=false", "127.0.0.1", True),
        ("other", "ssl_check_hostname=false", HOST, False),
        ("other", "ssl_cert_reqs=none", HOST, True),
        ("system's", "ssl_cert_reqs=none", "127.0.0.1", True),
    ],
)
def test_every_part_verifies_alike(
    encrypted: Encrypted, authority: str, options: str, host: str, *, expected: bool
) -> None:
    of = {"own": encrypted.authority, "other": encrypted.other_authority, "system's": None}
    settings = encrypted.verified_by(of[authority], options, host).settings()
    ways = answers(settings)
    assert ways == dict.fromkeys(ways, expected)


def test_everything_works_through_tls(
    encrypted: Encrypted, broker: Broker, module_database_url: str, tmp_path: Path
) -> None:
    broker.empty()
    verified = encrypted.verified_by(encrypted.authority)
    environment = verified.environment(module_database_url)
    engine = build_engine(module_database_url, application_name="test")
    bank = Bank(engine)
    with transaction(engine) as connection:
        bank.client, key = create_client(connection, name="a", scope="client", rate_limit="none")
    source, destination = bank.wallet(100_00), bank.wallet()
    buffered = Buffered(bank.request(source, destination, 100), datetime.now(UTC))
    with closing(intake_buffer(verified.settings())) as buffer:
        buffer.put([buffered])
        found = buffer.find(buffered.id)
        assert found is not None
        assert found.id == buffered.id
    with (
        workers_on(
            module_database_url, verified.broker_url, verified.cache_url, tmp_path
        ) as workers,
        serving(log=tmp_path / "api.log", **environment) as port,
    ):
        workers.start(BEAT)
        workers.ready(MONEY, SCANS)
        caller = Caller(port, key)
        body = {"source": str(source.id), "destination": str(destination.id), "asset": "USD"}
        sent = caller.submit(body | {"amount": "1.00"})
        ids = [buffered.id, uuid.UUID(sent.json()["id"])]
        eventually(lambda: bank.states(ids) == {"committed"}, within_s=60)
        components = ("broker", "cache", "workers")

        def states() -> set[str]:
            health = caller.get("/health").json()["components"]
            return {health[name]["status"] for name in components}

        eventually(lambda: states() == {"ok"})
        lengths = flower_lengths(verified.settings(module_database_url))
        assert set(lengths) == {"money.advance", "money.reserve"}
    engine.dispose()


def flower_lengths(settings: Settings) -> dict[str, int]:
    """Return what Flower's page of queues shows, except for the buffer."""
    app = make_celery(settings)
    with app.connection_for_read() as connection:
        return {
            name: flower_queues._length(app, connection, name)["messages"]
            for name in ("money.advance", "money.reserve")
        }
