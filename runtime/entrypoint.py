"""`python -m runtime.entrypoint NAME`: become one part of Truepenny, as a container does.

Guarantees that containers run the very command lines that `make up` does. The process becomes
the program instead of starting it, so that signals and exit codes are the program's own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from runtime.commands import MIGRATIONS, app_commands
from settings import Settings, SettingsError

MIGRATIONS_ROLE = "migrations"


def main(arguments: Sequence[str] | None = None) -> int:
    """Become the program of the role that is named. Returns: the exit code, when it cannot."""
    role: str = _parser().parse_args(arguments).role
    try:
        Settings.from_environment()  # what is wrong with them is said here, in one line
    except SettingsError as error:
        return _refuse(str(error))
    commands = role_commands()
    if role in commands:
        os.execv(commands[role][0], commands[role])  # noqa: S606 - becoming the program is the task
    return _refuse(f"there is no role {role!r}: it must be one of {', '.join(commands)}")


def role_commands() -> dict[str, tuple[str, ...]]:
    """What each role runs: the parts of the application, and the job that comes before them."""
    return {**app_commands(), MIGRATIONS_ROLE: MIGRATIONS}


def _refuse(why: str) -> int:
    sys.stderr.write(f"truepenny: {why}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Become one part of Truepenny.")
    parser.add_argument("role", help="api, money, scans, beat, flower or migrations")
    return parser


if __name__ == "__main__":
    sys.exit(main())
