"""Command lines of every program: API, workers, beat, Flower and migrations.

Passwords are not in them: every user of the machine can read a command line. Programs find
passwords in their environment or in files of their own.
"""

from __future__ import annotations

import sys

from tasks.broker import queues

MIGRATIONS = (sys.executable, "-m", "migrations")
"""The job that runs once before the application, and ends."""


def app_commands() -> dict[str, tuple[str, ...]]:
    """Return the command line of each part of the application, by the part's name."""
    workers = (sys.executable, "-m", "workers")
    return {
        "api": (
            *(sys.executable, "-m", "gunicorn"),
            *("--config", "api/gunicorn.conf.py", "wsgi:app"),
        ),
        "money": (
            *(*workers, "worker", "--hostname", "money@%h"),
            *("--queues", f"{queues.ADVANCE},{queues.RESERVE}", "--concurrency", "2"),
        ),
        "scans": (
            *(*workers, "worker", "--hostname", "scans@%h"),
            *("--queues", f"{queues.SCANS},{queues.WATCH}", "--concurrency", "2"),
        ),
        "beat": (*workers, "beat"),
        "flower": (sys.executable, "-m", "workers.flower.front"),
    }
