"""Standstill report: what an installation was doing when its transfers did not settle.

A standstill may be rare, and the logs of a test are deleted with its folder. So the report is
put into the message of the failed test.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from sqlalchemy import Engine, text

from settings import Settings
from tasks.broker import queues
from testing.worker_processes import CeleryProcess, Workers
from workers.celery_app import make_celery

_LOG_TAIL = 4_000
"""Characters of each log."""
_STACKS_WITHIN_S = 1.0


def standstill_report(engine: Engine, workers: Workers) -> str:
    """Describe the database, the queues, and each process: its state, stacks and log."""
    settings = Settings.from_environment(workers.environment)
    parts: list[tuple[str, Callable[[], str]]] = [
        ("unfinished", lambda: _rows(engine, _UNFINISHED)),
        ("sessions of the database", lambda: _rows(engine, _SESSIONS)),
        ("locks waited for", lambda: _rows(engine, _LOCKS)),
        ("queues", lambda: str(queues.lengths(make_celery(settings)))),
        *((str(each.arguments), _describe(each)) for each in workers.started),
        ("api.log", lambda: _tail(workers.folder / "api.log")),
    ]
    return "\n".join(f"--- {name}\n{_attempt(part)}" for name, part in parts)


def _attempt(part: Callable[[], str]) -> str:
    try:
        return part()
    except Exception as error:  # noqa: BLE001 - the rest of the report is still of use
        return f"not known: {error!r}"


def _rows(engine: Engine, statement: str) -> str:
    with engine.connect() as connection:
        rows = connection.execute(text(statement)).mappings().all()
    return "\n".join(str(dict(row)) for row in rows) or "none"


def _describe(worker: CeleryProcess) -> Callable[[], str]:
    def describe() -> str:
        if not worker.is_alive:
            return f"ended with {worker.process.returncode}\n{_tail(worker.log)}"
        family = [psutil.Process(worker.pid)]
        family += family[0].children(recursive=True)
        states = "\n".join(
            f"{each.pid} {each.status()} {_waits_in(each.pid)} {_open_sockets(each)}"
            for each in family
        )
        log = _tail(worker.log)
        return f"{states}\n{log}\n{'' if worker.is_beat else _stacks(worker)}"

    return describe


def _stacks(worker: CeleryProcess) -> str:
    """Make Celery's main process log the stacks of its threads."""
    before = worker.log.stat().st_size
    os.kill(worker.pid, signal.SIGUSR1)
    time.sleep(_STACKS_WITHIN_S)
    return worker.log.read_bytes()[before:][:_LOG_TAIL].decode(errors="replace")


def _waits_in(pid: int) -> str:
    return Path(f"/proc/{pid}/wchan").read_text()


def _open_sockets(process: psutil.Process) -> list[str]:
    return [f"{each.fd}:{each.raddr}:{each.status}" for each in process.net_connections()]


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-_LOG_TAIL:]


_UNFINISHED = """
    SELECT state, batch_id IS NULL AS unclaimed, failure_code, redrives, count(*),
           min(now() - moved_at) AS youngest, max(now() - moved_at) AS oldest
    FROM unfinished GROUP BY 1, 2, 3, 4 LIMIT 20
"""
_SESSIONS = """
    SELECT pid, application_name, state, wait_event, now() - state_change AS since,
           left(query, 80) AS query
    FROM pg_stat_activity WHERE datname = current_database() LIMIT 40
"""
_LOCKS = "SELECT pid, locktype, mode, objid FROM pg_locks WHERE NOT granted LIMIT 20"
