"""The drain on each kind of broker: it carries out only what this installation wrote."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
import redis
from kombu import pools
from sqlalchemy import text

from ledger.acceptance import TransferRequest
from ledger.buffer.entries import Buffered, IntakeBuffer, Kept, encode
from ledger.buffer.missing import count_lost
from ledger.buffer.seal import Seal
from ledger.buffer.set_aside import count_aside, list_aside, set_aside
from ledger.clients import Client
from ledger.errors import Unavailable
from ledger.postgres.database import autocommit, transaction
from settings import Settings
from tasks.buffer import __main__ as commands
from tasks.buffer import rabbitmq_queue
from tasks.buffer.intake_buffer import intake_buffer, intake_seal, put_log, unnamed_buffer
from tasks.buffer.put_log import LOG, READ
from tasks.drain import (
    CHUNK,
    drain_into_ledger,
    entry_seal,
    note_losses,
    report_losses,
    set_aside_unnamed,
)
from tasks.engine import forget_engine
from testing.bank import Bank
from testing.identity import IDENTITY, KEY_PREFIX
from testing.servers.brokers import Broker, RedisBroker
from testing.servers.databases import as_owner
from workers.celery_app import make_celery


@pytest.fixture
def settings(
    own_database_url: str, broker: Broker, cache_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Make this process a worker of an installation with an empty broker."""
    broker.empty()
    with redis.Redis.from_url(cache_url) as cache:
        cache.delete(KEY_PREFIX + LOG, KEY_PREFIX + READ)
    urls = {"DATABASE_URL": own_database_url, "BROKER_URL": broker.url, "CACHE_URL": cache_url}
    for name, value in {**IDENTITY, **urls}.items():
        monkeypatch.setenv(name, value)
    forget_engine()
    pools.reset()  # the broker may have been killed since they connected
    entry_seal.cache_clear()
    settings = Settings.from_environment()
    make_celery(settings)
    yield settings
    pools.reset()  # kombu's are global, by the broker's URL
    forget_engine()
    entry_seal.cache_clear()


@pytest.fixture
def buffer(settings: Settings) -> Iterator[IntakeBuffer]:
    buffer = intake_buffer(settings)
    buffer.count()  # on RabbitMQ this makes the queue
    yield buffer
    buffer.close()


def buffered(request: TransferRequest, *, scope: str = "client") -> Buffered:
    client = replace(request.client, scope=scope)  # type: ignore[arg-type]
    return Buffered(replace(request, client=client), datetime.now(UTC))


def unsigned(request: TransferRequest, *, scope: str) -> bytes:
    """Return the entry that version 1.0.0 would have written, or anybody else."""
    document = {
        "format": 1,
        "at": datetime.now(UTC).isoformat(),
        "client": [str(request.client.id), "name", scope, None],
        "key": request.idempotency_key,
        "source": str(request.source_id),
        "destination": str(request.destination_id),
        "asset": request.asset,
        "scale": 2,
        "amount": request.amount_minor,
        "reference": request.reference,
        "metadata": request.metadata,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def aside(bank: Bank) -> dict[str, int]:
    with autocommit(bank.engine) as connection:
        return {reason: count for reason, count in count_aside(connection).items() if count}


def numbers(bank: Bank) -> list[str]:
    with autocommit(bank.engine) as connection:
        return [str(entry.seq) for entry in list_aside(connection, after=0, limit=100)]


def other_seals(settings: Settings) -> list[Seal]:
    secrets, id = settings.intake_secrets, settings.installation_id
    return [
        Seal(["a-secret-of-somebody-else"], installation_id=id, purpose="intake entry"),
        Seal(secrets, installation_id="another", purpose="intake entry"),
        Seal(secrets, installation_id=id, purpose="intake receipt"),
    ]


def test_what_others_wrote_is_set_aside_and_holds_up_nothing(
    bank: Bank, broker: Broker, buffer: IntakeBuffer, settings: Settings
) -> None:
    source, loot = bank.wallet(1000), bank.wallet()
    theft = bank.request(source, loot, 1)
    for scope in ("client", "admin"):
        broker.forge(str(uuid4()), unsigned(theft, scope=scope))
    for seal in other_seals(settings):
        broker.forge(str(uuid4()), encode(buffered(theft, scope="admin"), seal))
    genuine = encode(buffered(theft), intake_seal(settings))
    forged = genuine.replace(str(loot.id).encode(), str(bank.wallet().id).encode())
    half_a_character = unsigned(theft, scope="admin").replace(b'"key":"', b'"key":"\\ud800')
    for content in (
        half_a_character,
        forged,
        b"",
        b"[" * 10_000,
        b'{"format":3}',
        b"\xff\x00",
        genuine[:-1],
    ):
        broker.forge(str(uuid4()), content)
    own = bank.request(source, loot, 2)
    buffer.put([buffered(own)])
    done = drain_into_ledger(buffer)
    assert (done.accepted, done.set_aside) == (1, 12)
    bank.settle()
    assert bank.state(buffered(own).id) == "committed"
    assert (bank.look(source).balance, buffer.count()) == (998, 0)
    assert aside(bank) == {"unsigned": 3, "not_authentic": 9}
    bank.audit()


def test_a_genuine_entry_that_is_written_again_moves_money_once(
    bank: Bank, broker: Broker, buffer: IntakeBuffer, settings: Settings
) -> None:
    source, destination = bank.wallet(1000), bank.wallet()
    request = buffered(bank.request(source, destination, 5))
    buffer.put([request])
    content = encode(request, intake_seal(settings))
    for id in (request.id, uuid4()):
        broker.forge(str(id), content)
    drain_into_ledger(buffer)
    broker.forge(str(request.id), content)
    drain_into_ledger(buffer)
    bank.settle()
    assert bank.look(destination).balance == 5
    assert buffer.count() == 0


def test_what_a_client_may_do_is_read_in_the_database(bank: Bank, buffer: IntakeBuffer) -> None:
    owner, other = bank.new_client(), bank.new_client()
    source, destination = bank.wallet(100, owner=owner), bank.wallet(owner=other)
    # As an API with a wrong memory would have written it: the caller is no admin any more.
    request = bank.request(source, destination, 5, client=other)
    buffer.put([buffered(request, scope="admin")])
    drain_into_ledger(buffer)
    bank.settle()
    found = bank.transfer(buffered(request).id)
    assert found.state == "rejected"
    assert found.failure is not None
    assert found.failure.code == "wallet_not_found"


def test_what_version_1_0_0_buffered_is_set_aside_and_strangers_entries_stay(
    bank: Bank, broker: Broker, settings: Settings
) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    nobody = Client(uuid4(), "", "client", None)
    ours = [unsigned(bank.request(source, destination, 5), scope="client") for _ in range(3)]
    theirs = unsigned(bank.request(source, destination, 5, client=nobody), scope="client")
    for content in (theirs, *ours, b"a stranger's"):
        broker.forge(str(uuid4()), content, is_named=False)
    with closing(unnamed_buffer(settings)) as old:
        assert set_aside_unnamed(old) == 3
        assert set_aside_unnamed(old) == 0
        assert old.count() == 2
        assert aside(bank) == {"unsigned": 3}
        assert bank.look(source).balance == 100
    assert commands.main(["replay", "unsigned"]) == 0
    bank.settle()
    assert bank.look(source).balance == 85


def test_a_broker_that_knows_no_version_1_0_0_is_left_as_it_is(
    bank: Bank, broker: Broker, settings: Settings
) -> None:
    before = lasting_names(broker)
    with closing(unnamed_buffer(settings)) as old:
        if isinstance(broker, RedisBroker):
            assert set_aside_unnamed(old) == 0
        else:
            broker.delete_unnamed()
            before -= {rabbitmq_queue.QUEUE}
            with pytest.raises(Unavailable):
                set_aside_unnamed(old)
    assert lasting_names(broker) == before
    assert aside(bank) == {}


def lasting_names(broker: Broker) -> set[str]:
    """Return the broker's names without those that go with a worker that an earlier test ended."""
    return {name for name in broker.names() if "celery.pidbox" not in name}


def test_an_entry_of_a_client_that_does_not_exist_is_set_aside(
    bank: Bank, buffer: IntakeBuffer, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = Client(uuid4(), "", "admin", None)
    source, destination = bank.wallet(100), bank.wallet()
    request = bank.request(source, destination, 5, client=nobody)
    buffer.put([buffered(request, scope="admin")])
    assert drain_into_ledger(buffer).set_aside == 1
    assert aside(bank) == {"unknown_client": 1}
    assert commands.main(["replay", *numbers(bank)]) == 1
    assert "does not know the client" in capsys.readouterr().out
    assert (aside(bank), bank.look(source).balance) == ({"unknown_client": 1}, 100)


def test_an_entry_that_cannot_even_be_rejected_is_set_aside(
    bank: Bank, buffer: IntakeBuffer
) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    poisoned = bank.request(source, destination, 66)
    with as_owner(bank.engine) as connection:
        for table in ("transfers", "refused_requests"):
            rule = "ADD CONSTRAINT test_refusal CHECK (amount <> 66)"
            connection.execute(text(f"ALTER TABLE {table} {rule}"))
    own = bank.request(source, destination, 1)
    buffer.put([buffered(poisoned), buffered(own)])
    drain_into_ledger(buffer)
    assert bank.state(buffered(own).id) == "accepted"
    assert (buffer.count(), aside(bank)) == (0, {"unrecordable": 1})
    with as_owner(bank.engine) as connection:
        connection.execute(text("ALTER TABLE transfers DROP CONSTRAINT test_refusal"))
    assert commands.main(["replay", *numbers(bank)]) == 0
    assert (bank.state(buffered(poisoned).id), aside(bank)) == ("accepted", {})


def test_large_entries_are_set_aside_without_being_kept(
    bank: Bank, broker: Broker, buffer: IntakeBuffer
) -> None:
    # Each is more than a drain reads at once.
    size, count = (17_000_000, 4) if not isinstance(broker, RedisBroker) else (6_000_000, 2)
    for number in range(count):
        broker.forge(str(uuid4()), bytes([number]) * size)
    own = buffered(bank.request(bank.wallet(100), bank.wallet(), 1))
    buffer.put([own])
    began_s = time.monotonic()
    while bank.states([own.id]) == {"unknown"} and time.monotonic() < began_s + 60:
        drain_into_ledger(buffer)
    assert bank.state(own.id) == "accepted"
    assert aside(bank) == {"not_authentic": count}
    with autocommit(bank.engine) as connection:
        kept = list_aside(connection, after=0, limit=10)
    assert {(len(entry.content), entry.size_bytes) for entry in kept} == {(1024, size)}


def test_a_genuine_entry_of_a_newer_version_waits_for_it_and_those_before_it_do_not(
    bank: Bank, broker: Broker, buffer: IntakeBuffer, settings: Settings
) -> None:
    own = buffered(bank.request(bank.wallet(100), bank.wallet(), 1))
    buffer.put([own])
    rest = b'"what":"ever"}'
    mark = intake_seal(settings).mark(b"3\0" + rest)
    broker.forge(str(uuid4()), f'{{"format":3,"mark":"{mark}",'.encode() + rest)
    with pytest.raises(Unavailable):
        drain_into_ledger(buffer)
    assert bank.state(own.id) == "accepted"
    assert (len(buffer.first(10)), aside(bank)) == (1, {})
    buffer.release()


def test_the_place_for_what_is_set_aside_is_bounded(bank: Bank) -> None:
    entries = [(f"entry {number}".encode(), 7, "not_authentic") for number in range(5)]
    with transaction(bank.engine) as connection:
        assert set_aside(connection, entries[:3], limit=4) == 0  # type: ignore[arg-type]
        assert set_aside(connection, entries, limit=4) == 1  # type: ignore[arg-type]
    assert aside(bank) == {"not_authentic": 4}


def test_a_forged_time_does_not_end_the_replay_of_all_that_is_unsigned(
    bank: Bank, broker: Broker, buffer: IntakeBuffer
) -> None:
    forged, left_behind = (bank.request(bank.wallet(100), bank.wallet(), 1) for _ in range(2))
    content = json.loads(unsigned(forged, scope="client")) | {"at": "9999-12-31T23:59:59-23:00"}
    broker.forge(str(uuid4()), json.dumps(content, separators=(",", ":")).encode())
    broker.forge(str(uuid4()), unsigned(left_behind, scope="client"))
    drain_into_ledger(buffer)
    assert commands.main(["replay", "unsigned"]) == 1
    assert bank.state(buffered(left_behind).id) == "accepted"
    assert aside(bank) == {"unsigned": 1}


WRONG_FIELDS: tuple[dict[str, object], ...] = (
    {"asset": 5},
    {"asset": ["USD"]},
    {"asset": {"USD": 2}},
    {"asset": "U\0D"},
    {"reference": 5},
    {"reference": {"a": 1}},
    {"metadata": "a"},
    {"metadata": [1]},
    {"metadata": {"a": "\0"}},
    {"amount": 10**60},
    {"amount": -1},
)


@pytest.mark.usefixtures("settings")
def test_forged_fields_do_not_end_the_replay_of_all_that_is_unsigned(bank: Bank) -> None:
    right = bank.request(bank.wallet(100), bank.wallet(), 1)
    forged = (bank.request(bank.wallet(100), bank.wallet(), 1) for _ in WRONG_FIELDS)
    contents = [
        json.loads(unsigned(request, scope="client")) | wrong
        for request, wrong in zip(forged, WRONG_FIELDS, strict=True)
    ]
    entries = [*(json.dumps(each).encode() for each in contents), unsigned(right, scope="client")]
    with transaction(bank.engine) as connection:
        set_aside(connection, [(each, len(each), "unsigned") for each in entries], limit=100)
    assert commands.main(["list"]) == 0
    assert commands.main(["replay", "unsigned"]) == 1
    assert bank.state(buffered(right).id) == "accepted"
    assert aside(bank) == {"unsigned": len(WRONG_FIELDS)}


def test_what_version_1_0_0_buffered_is_found_behind_many_entries_of_strangers(
    bank: Bank, broker: Broker, settings: Settings
) -> None:
    ours = unsigned(bank.request(bank.wallet(100), bank.wallet(), 5), scope="client")
    with closing(unnamed_buffer(settings)) as old:
        broker.forge("stranger", b"a stranger's", is_named=False, times=2 * CHUNK + 1)
        broker.forge(str(uuid4()), ours, is_named=False)
        assert set_aside_unnamed(old) == 1
        assert aside(bank) == {"unsigned": 1}
        assert old.count() == 2 * CHUNK + 1


def test_an_operator_lists_replays_and_discards(
    bank: Bank, broker: Broker, buffer: IntakeBuffer, capsys: pytest.CaptureFixture[str]
) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    left_behind, stolen = (bank.request(source, destination, amount) for amount in (7, 8))
    external = bank.request(bank.external["USD"], destination, 9)
    for request in (left_behind, stolen, external):
        broker.forge(str(buffered(request).id), unsigned(request, scope="admin"))
    broker.forge(str(uuid4()), b"\x1b[31mgarbage")
    drain_into_ledger(buffer)
    first, second, third, fourth = numbers(bank)

    assert commands.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert f"0.07 'USD' from {source.id} to {destination.id}, client {bank.client.id}" in listed
    assert "3 unsigned: written by version 1.0.0, or by anybody" in listed
    assert "\x1b" not in listed
    assert commands.main(["show", fourth]) == 0
    assert r"b'\x1b[31mgarbage'" in capsys.readouterr().out

    assert commands.main(["discard", second, second]) == 0
    assert commands.main(["replay", second, fourth, "x"]) == 1
    assert "not authentic" in capsys.readouterr().out
    assert commands.main(["replay", "unsigned"]) == 0
    bank.settle()
    assert bank.state(buffered(left_behind).id) == "committed"
    assert bank.states([buffered(stolen).id]) == {"unknown"}
    # The entry says admin; the database does not.
    assert bank.state(buffered(external).id) == "rejected"
    assert aside(bank) == {"not_authentic": 1}
    assert (first, third) != (second, fourth)


def test_a_secret_that_was_dropped_too_early_can_be_given_again(
    bank: Bank, buffer: IntakeBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = buffered(bank.request(bank.wallet(100), bank.wallet(), 1))
    buffer.put([own])
    old, new = IDENTITY["INTAKE_SECRET"], "another-secret-0123456789abcdefghij"
    monkeypatch.setenv("INTAKE_SECRET", new)
    entry_seal.cache_clear()
    assert drain_into_ledger(buffer).set_aside == 1
    assert commands.main(["replay", *numbers(bank)]) == 1
    monkeypatch.setenv("INTAKE_SECRET", f"{new},{old}")
    assert commands.main(["replay", *numbers(bank)]) == 0
    assert (bank.state(own.id), aside(bank)) == ("accepted", {})


def test_the_wait_ends_when_the_buffer_is_empty(
    bank: Bank, buffer: IntakeBuffer, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer.put([buffered(bank.request(bank.wallet(100), bank.wallet(), 1))])
    assert commands.main(["wait", "--timeout-s", "0"]) == 1
    assert "1 requests wait" in capsys.readouterr().out
    drain_into_ledger(buffer)
    assert commands.main(["wait"]) == 0
    assert "The buffer is empty." in capsys.readouterr().out


def losses(buffer: IntakeBuffer, settings: Settings, *, after_s: float = 0.0) -> list[UUID]:
    log = put_log(settings)
    note_losses(buffer, log)
    log.close()
    return report_losses(after_s=after_s)


def test_a_buffer_that_was_emptied_is_reported_with_the_ids(
    bank: Bank,
    broker: Broker,
    buffer: IntakeBuffer,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, destination = bank.wallet(100), bank.wallet()
    requests = [buffered(bank.request(source, destination, number + 1)) for number in range(4)]
    buffer.put(requests[:2])
    drain_into_ledger(buffer)
    assert losses(buffer, settings) == []
    buffer.put(requests[2:])
    broker.empty()
    buffer.count()
    # A worker that died may still hold them.
    assert losses(buffer, settings, after_s=60) == []
    assert set(losses(buffer, settings)) == {each.id for each in requests[2:]}
    assert losses(buffer, settings) == []  # once
    assert counted_lost(bank) == 2
    commands.main(["lost"])
    listed = capsys.readouterr().out
    assert all(str(each.id) in listed for each in requests[2:])

    # Its client sends one again, and the other is settled in another way.
    bank.accept(requests[2].request)
    assert counted_lost(bank) == 1
    commands.main(["forget", str(requests[3].id)])
    assert counted_lost(bank) == 0


def test_what_waits_was_set_aside_or_is_drained_is_not_lost(
    bank: Bank, buffer: IntakeBuffer, settings: Settings
) -> None:
    nobody = Client(uuid4(), "", "client", None)
    source, destination = bank.wallet(100), bank.wallet()
    buffer.put(
        [
            buffered(bank.request(source, destination, 1)),
            buffered(bank.request(source, uuid4(), 1)),
            buffered(bank.request(source, destination, 1, client=nobody)),
        ]
    )
    assert losses(buffer, settings) == []
    drain_into_ledger(buffer)
    assert losses(buffer, settings) == []
    assert counted_lost(bank) == 0


def test_a_loss_is_noticed_after_the_secret_was_changed(
    bank: Bank, broker: Broker, buffer: IntakeBuffer, settings: Settings
) -> None:
    own = buffered(bank.request(bank.wallet(100), bank.wallet(), 1))
    buffer.put([own])
    broker.empty()
    buffer.count()
    secrets = ("another-secret-0123456789abcdefghij", *settings.intake_secrets)
    assert losses(buffer, replace(settings, intake_secrets=secrets)) == [own.id]


def test_a_forged_note_is_no_loss(
    bank: Bank, buffer: IntakeBuffer, settings: Settings, cache_url: str
) -> None:
    with redis.Redis.from_url(cache_url) as cache:
        cache.append(KEY_PREFIX + LOG, uuid4().bytes + bytes(16) + b"half")
    assert losses(buffer, settings) == []
    assert counted_lost(bank) == 0


def test_notes_wait_in_memory_while_the_cache_is_away(
    bank: Bank, settings: Settings, cache_url: str
) -> None:
    own = buffered(bank.request(bank.wallet(100), bank.wallet(), 1))
    log = put_log(settings)
    with redis.Redis.from_url(cache_url) as cache:
        cache.client_pause(500)
        log.append_new([Kept(own, is_new=True)])
    time.sleep(3)  # longer than the pause, and than the cool-down after it
    assert log.read() == []
    log.append_new([])
    assert log.read() == [own.id]
    log.close()


def counted_lost(bank: Bank) -> int:
    with autocommit(bank.engine) as connection:
        return count_lost(connection)
