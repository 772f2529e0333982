"""Commands for the intake buffer: wait until it is empty, and look after what was set aside.

    python -m tasks.buffer wait [--timeout-s SECONDS]
    python -m tasks.buffer list
    python -m tasks.buffer show NUMBER...
    python -m tasks.buffer replay NUMBER... | unsigned
    python -m tasks.buffer discard NUMBER...
    python -m tasks.buffer lost
    python -m tasks.buffer forget ID...

They need the settings of the application. `replay` carries an entry out once, as its client, with
the rights that the database gives that client now.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from uuid import UUID

from sqlalchemy import Engine

from ledger.buffer.entries import IntakeBuffer, decode_unverified
from ledger.buffer.missing import count_lost, forget_lost, list_lost
from ledger.buffer.replaying import try_replay_lock
from ledger.buffer.seal import Seal
from ledger.buffer.set_aside import (
    AsideEntry,
    count_aside,
    list_aside,
    remove_aside,
    replay_aside,
)
from ledger.errors import LedgerError, NotAuthentic, Unavailable, Unreadable
from ledger.money import format_amount
from ledger.postgres.database import autocommit, build_engine, transaction
from settings import Settings, SettingsError
from tasks.buffer.intake_buffer import intake_buffer, intake_seal

_LOOKS_EVERY_S = 1.0
_PAGE = 1000
_MOST_LOST = 100_000
UNSIGNED = "unsigned"
"""In place of numbers: all entries of version 1.0.0."""
_ADVICE = {
    "unsigned": "written by version 1.0.0, or by anybody with access to the broker",
    "not_authentic": "written with another secret, or by anybody with access to the broker",
    "unreadable": "genuine, but no request: please report it",
    "unknown_client": "genuine, but its client is not in this database",
    "unrecordable": "genuine, but the database refuses it: read the log of the scans worker",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns: the exit code, 1 if something is left undone."""
    given = _parser().parse_args(arguments)
    try:
        settings = Settings.from_environment()
        engine = build_engine(settings.database_url, application_name="buffer", pool_size=2)
        if given.command == "wait":
            with closing(intake_buffer(settings)) as buffer:
                return _wait(buffer, engine, timeout_s=given.timeout_s)
        if given.command == "list":
            return _list(engine)
        if given.command == "lost":
            return _lost(engine)
        if given.command == "forget":
            return _forget(engine, given.ids)
        return _for_each(given.command, engine, given.numbers, intake_seal(settings))
    except (SettingsError, LedgerError) as error:
        return _say(f"failed: {error}", code=1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.buffer", description="Look after the intake buffer."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    wait = commands.add_parser("wait", help="wait until the buffer is empty")
    wait.add_argument("--timeout-s", type=float, default=600.0)
    commands.add_parser("list", help="list the entries that were set aside, oldest first")
    commands.add_parser("lost", help="list the transfers whose buffered requests are lost")
    forget = commands.add_parser("forget", help="count transfers as lost no more")
    forget.add_argument("ids", nargs="+", type=UUID)
    for name, explained in (
        ("show", "print entries as they are"),
        ("replay", f"carry entries out as their clients; `{UNSIGNED}`: all of version 1.0.0"),
        ("discard", "delete entries, so that they are never carried out"),
    ):
        commands.add_parser(name, help=explained).add_argument("numbers", nargs="+")
    return parser


def _wait(buffer: IntakeBuffer, engine: Engine, *, timeout_s: float) -> int:
    """Wait until nothing is buffered and no drain is under way."""
    give_up_at_s = time.monotonic() + timeout_s
    while True:
        try:
            # A drain holds entries that RabbitMQ does not count, and it holds this lock.
            with try_replay_lock(engine) as is_alone:
                state = f"{buffer.count()} requests wait" if is_alone else "being drained"
        except Unavailable as error:
            state = f"not known: {error}"
        if state == "0 requests wait":
            with autocommit(engine) as connection:
                aside = sum(count_aside(connection).values())
            return _say(f"The buffer is empty. Entries that are set aside: {aside}.")
        _say(state)
        if time.monotonic() > give_up_at_s:
            return _say("The buffer is not empty yet.", code=1)
        time.sleep(_LOOKS_EVERY_S)


def _list(engine: Engine) -> int:
    for entry in _all(engine):
        _say(f"{entry.seq}  {entry.set_aside_at:%Y-%m-%d %H:%M:%S}  {entry.reason}  {claim(entry)}")
    with autocommit(engine) as connection:
        counts = count_aside(connection)
    for reason, count in counts.items():
        if count:
            _say(f"{count} {reason}: {_ADVICE[reason]}")
    return _say(f"{sum(counts.values())} entries are set aside.")


def _lost(engine: Engine) -> int:
    with autocommit(engine) as connection:
        lost = list_lost(connection, limit=_MOST_LOST)
        count = count_lost(connection)
    for id, noticed_at in lost:
        _say(f"{id}  missed since {noticed_at:%Y-%m-%d %H:%M:%S}")
    return _say(f"{count} requests are lost. Their clients got 202 `buffered` with these ids.")


def _forget(engine: Engine, ids: Sequence[UUID]) -> int:
    with transaction(engine) as connection:
        return _say(f"{forget_lost(connection, ids)} forgotten")


def _all(engine: Engine) -> Iterator[AsideEntry]:
    after = 0
    while True:
        with autocommit(engine) as connection:
            page = list_aside(connection, after=after, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].seq


def claim(entry: AsideEntry) -> str:
    """Return what an entry asks for, whether it is genuine or not, in one line."""
    if entry.size_bytes > len(entry.content):
        return f"{entry.size_bytes} bytes, none of ours"
    try:
        request = decode_unverified(entry.content).request
    except Unreadable:
        return f"{entry.size_bytes} bytes"
    amount = format_amount(request.amount_minor, scale=request.scale)
    return (
        f"{amount} {request.asset!r} from {request.source_id} to {request.destination_id}, "
        f"client {request.client.id}, key {request.idempotency_key!r}"
    )


def _for_each(command: str, engine: Engine, numbers: Sequence[str], seal: Seal) -> int:
    """Apply a command to entries, each by itself. Returns: the exit code."""
    if numbers == [UNSIGNED] and command == "replay":
        numbers = [str(entry.seq) for entry in _all(engine) if entry.reason == "unsigned"]
    failed = False
    for number in numbers:
        try:
            if not (number.isascii() and number.isdigit()):
                raise Unreadable(f"{number!r} is not a number from `list`.")
            _say(f"{number}: {_apply(command, engine, int(number), seal)}")
        except NotAuthentic:
            _say(
                f"{number}: not authentic: add the secret that it was written with, if it is yours"
            )
            failed = True
        except LedgerError as error:
            _say(f"{number}: {error}")
            failed = True
        except (ValueError, TypeError, RecursionError) as error:  # a text with a zero byte, or
            # anything else that somebody has thought of: the other entries are not concerned.
            _say(f"{number}: the database does not accept it ({type(error).__name__})")
            failed = True
    return int(failed)


def _apply(command: str, engine: Engine, seq: int, seal: Seal) -> str:
    with transaction(engine) as connection:
        if command == "replay":
            done = replay_aside(connection, seq, seal)
            outcome = (
                "accepted" if done.accepted else "rejected" if done.refused else "known already"
            )
            return f"replayed: {outcome}"
        if command == "discard":
            return "discarded" if remove_aside(connection, seq) else "there is no such entry"
        page = list_aside(connection, after=seq - 1, limit=1)
        found = [entry for entry in page if entry.seq == seq]
        return repr(found[0].content) if found else "there is no such entry"


def _say(line: str, *, code: int = 0) -> int:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
