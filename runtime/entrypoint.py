"""Entry point of the container image: becomes the program of one role.

    python -m runtime.entrypoint ROLE

Guarantees that every container runs the command lines of `runtime.commands`. The process
becomes the program instead of starting it as a child, so that signals and exit codes are the
program's own.
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
    """Become the program of the given role. Returns: the exit code, only on failure."""
    parser = argparse.ArgumentParser(description="Become one part of Truepenny.")
    parser.add_argument("role", help="api, money, scans, beat, flower or migrations")
    role: str = parser.parse_args(arguments).role
    try:
        Settings.from_environment()  # a wrong setting is reported here, in one line
    except SettingsError as error:
        return _fail(str(error))
    commands = role_commands()
    if role in commands:
        os.execv(commands[role][0], commands[role])  # noqa: S606 - becoming the program is the task
    return _fail(f"there is no role {role!r}: it must be one of {', '.join(commands)}")


def role_commands() -> dict[str, tuple[str, ...]]:
    """Return the command line of each role: the application's parts, and the migrations."""
    return {**app_commands(), MIGRATIONS_ROLE: MIGRATIONS}


def _fail(reason: str) -> int:
    sys.stderr.write(f"truepenny: {reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
