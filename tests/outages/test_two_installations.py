"""Two installations on one broker and one cache: each sees, moves and drains only its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import amqp
import pytest
import redis
from sqlalchemy import text

from ledger.buffer.entries import Buffered
from ledger.clients import create_client
from ledger.postgres.database import build_engine, transaction
from ledger.wallets import Wallet
from settings import Settings
from tasks.buffer.intake_buffer import intake_buffer
from testing.bank import Bank
from testing.http_client import Caller, serving
from testing.identity import IDENTITY
from testing.servers.brokers import Broker, RabbitBroker, RedisBroker
from testing.servers.databases import as_owner, copied_database
from testing.worker_processes import BEAT, MONEY, SCANS, Workers, eventually, workers_on

pytestmark = pytest.mark.slow

OURS, OTHERS = IDENTITY["INSTALLATION_ID"], "another"
TRANSFERS = 20


@dataclass
class Side:
    """One installation: its ledger, its workers, its API, and what it buffers and moves."""

    bank: Bank
    workers: Workers
    client: Caller
    ops: Caller
    source: Wallet
    destination: Wallet

    def buffer(self, count: int) -> list[uuid.UUID]:
        """Put requests into the buffer, as the API does while the database is away."""
        requests = [
            Buffered(self.bank.request(self.source, self.destination, 100), datetime.now(UTC))
            for _ in range(count)
        ]
        own = intake_buffer(Settings.from_environment(self.workers.environment))
        own.put(requests)
        own.close()
        return [each.id for each in requests]

    def submit(self) -> uuid.UUID:
        body = {"source": str(self.source.id), "destination": str(self.destination.id)}
        answer = self.client.submit(body | {"asset": "USD", "amount": "1.00"})
        return uuid.UUID(answer.json()["id"])

    def has_settled(self, ids: list[uuid.UUID]) -> bool:
        return self.bank.states(ids) == {"committed"}


@contextmanager
def side(
    template_url: str, broker: Broker, cache_url: str, folder: Path, installation_id: str
) -> Iterator[Side]:
    folder.mkdir()
    with ExitStack() as stack:
        database_url = stack.enter_context(copied_database(template_url))
        engine = build_engine(database_url, application_name="test")
        stack.callback(engine.dispose)
        with as_owner(engine) as connection:  # the template has the name of ours
            connection.execute(text("UPDATE installation SET id = :id"), {"id": installation_id})
        with transaction(engine) as connection:
            owner, key = create_client(connection, name="a", scope="client", rate_limit="none")
            _, admin_key = create_client(connection, name="b", scope="admin", rate_limit="none")
        bank = Bank(engine)
        bank.client = owner
        own = {"INSTALLATION_ID": installation_id}
        workers = stack.enter_context(workers_on(database_url, broker.url, cache_url, folder))
        workers.environment |= own
        urls = {"DATABASE_URL": database_url, "BROKER_URL": broker.url, "CACHE_URL": cache_url}
        port = stack.enter_context(serving(log=folder / "api.log", **urls, **own))
        source, destination = bank.wallet(100_000), bank.wallet()
        callers = Caller(port, key), Caller(port, admin_key)
        yield Side(bank, workers, *callers, source, destination)


@pytest.fixture
def sides(
    template_url: str, broker: Broker, cache_url: str, tmp_path: Path
) -> Iterator[tuple[Side, Side]]:
    with (
        redis.Redis.from_url(cache_url) as cache,
        side(template_url, broker, cache_url, tmp_path / "ours", OURS) as ours,
        side(template_url, broker, cache_url, tmp_path / "others", OTHERS) as others,
    ):
        cache.flushall()
        yield ours, others


def test_each_drains_moves_and_watches_only_its_own(
    sides: tuple[Side, Side], broker: Broker, cache_url: str
) -> None:
    ours, others = sides
    put_foreign_entry(broker)
    foreign = {name for name in broker.names() if OURS not in name.replace(":", ".").split(".")}
    buffered = [each.buffer(TRANSFERS) for each in sides]

    # The workers of one side alone: they leave everything of the other side where it is.
    others.workers.start(BEAT)
    others.workers.ready(MONEY, SCANS)
    eventually(lambda: others.has_settled(buffered[1]), within_s=60)
    assert not ours.bank.unfinished()
    assert waiting(ours) == TRANSFERS
    assert ours.bank.states(buffered[0]) == {"unknown"}
    assert "no heartbeat" in ours.ops.get("/health").json()["components"]["workers"]["detail"]
    assert others.ops.get("/health").json()["components"]["workers"]["status"] == "ok"

    ours.workers.start(BEAT)
    ours.workers.ready(MONEY, SCANS)
    for each, ids in zip(sides, buffered, strict=True):
        ids += [each.submit() for _ in range(TRANSFERS)]
    for each, ids in zip(sides, buffered, strict=True):
        eventually(lambda each=each, ids=ids: each.has_settled(ids), within_s=60)  # type: ignore[misc]
        eventually(lambda each=each: waiting(each) == 0)  # type: ignore[misc]  # the drain lets go
        with transaction(each.bank.engine) as connection:
            # One of them funded the source.
            assert connection.scalar(text("SELECT count(*) FROM transfers")) == len(ids) + 1
            assert connection.scalar(text("SELECT count(*) FROM refused_requests")) == 0
        each.bank.audit()

    separators = ":" if isinstance(broker, RedisBroker) else "."
    named = broker.names() - foreign
    assert named_after(named, separators) == {OURS, OTHERS}, named
    with redis.Redis.from_url(cache_url) as cache:
        kept = {key.decode() for key in cache.scan_iter(count=1000)}
    assert named_after(kept, ":") == {OURS, OTHERS}, kept
    assert foreign_entries(broker) == [1, 1]


def waiting(each: Side) -> int:
    overview = each.ops.get("/v1/ops/overview").json()
    found = {queue["name"]: queue["waiting"] for queue in overview["queues"]}
    return int(found["intake"])


def named_after(names: set[str], separator: str) -> set[str]:
    """Return the installations that the names show; a name without one counts as itself."""
    found = set()
    for name in names:
        of = [id for id in (OURS, OTHERS) if f"truepenny{separator}{id}{separator}" in name]
        found |= set(of) or {name}
    return found


def put_foreign_entry(broker: Broker) -> None:
    """Write what a version without names wrote, and what belongs to somebody else."""
    if isinstance(broker, RedisBroker):
        broker.client.xadd("truepenny:intake", {"id": "old"})
        broker.client.rpush("money.advance", "a stranger's")
    else:
        assert isinstance(broker, RabbitBroker)
        with broker.connect() as connection:
            channel = connection.channel()
            for queue in ("intake", "money.advance"):
                channel.queue_declare(queue, durable=True, auto_delete=False)
                channel.queue_purge(queue)  # of what another test has left there
                channel.basic_publish(amqp.Message("a stranger's"), routing_key=queue)


def foreign_entries(broker: Broker) -> list[int]:
    """Return how many there still are of each kind."""
    if isinstance(broker, RedisBroker):
        client = broker.client
        return [client.xlen("truepenny:intake"), client.llen("money.advance")]
    assert isinstance(broker, RabbitBroker)
    with broker.connect() as connection:
        channel = connection.channel()
        return [channel.queue_delete(queue) or 0 for queue in ("intake", "money.advance")]
