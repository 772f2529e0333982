"""Memory of the programs: what they load, and what forked processes can share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stack.processes.forking_supervisord import SHARED
from testing.programs import ROOT
from tests.unit.runtime.test_entrypoint import URLS

NOT_USED = {
    "workers.__main__": {
        *("flower", "prompt_toolkit", "pygments", "click_repl", "flask", "gunicorn", "pydantic"),
        *("alembic", "sentry_sdk", "supervisor"),
    },
    "wsgi": {"flower", "prompt_toolkit", "pygments", "alembic", "sentry_sdk", "supervisor"},
    "workers.flower.front": {"flask", "gunicorn", "pydantic", "alembic", "sentry_sdk"},
    "stack.up": {"celery", "sqlalchemy", "flask", "redis", "kombu", "structlog"},
}


def run(program: str) -> str:
    """Run a program in a new interpreter. Returns: what it prints."""
    environment = {**os.environ, **URLS}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", NOT_USED)
def test_a_program_loads_nothing_that_it_does_not_use(module: str) -> None:
    loaded = set(run(f"import sys, {module}; print(*sys.modules)").split())
    assert loaded & NOT_USED[module] == set()


@pytest.mark.parametrize("modules", [["wsgi"], ["workers.app"], SHARED])
def test_what_is_loaded_before_a_fork_starts_no_thread_and_opens_nothing(
    modules: list[str],
) -> None:
    """A thread does not survive a fork, and a connection must not be used by two processes."""
    counted = run(
        f"import importlib, os, threading\n"
        f"for each in {list(modules)}: importlib.import_module(each)\n"
        "open_files = {os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')"
        " if os.path.exists(f'/proc/self/fd/{fd}') and int(fd) > 2}\n"
        "print(threading.active_count(), *open_files)"
    )
    assert counted.split() == ["1"]


def test_modules_that_programs_share_read_no_setting() -> None:
    """They are loaded before the settings of a program are known."""
    read = "import importlib, os\nfor name in list(os.environ):\n"
    read += "    if name in ('DATABASE_URL', 'BROKER_URL', 'CACHE_URL'): del os.environ[name]\n"
    run(read + f"for each in {list(SHARED)}: importlib.import_module(each)")
