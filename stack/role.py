"""`python -m stack.role NAME`: become one part of Truepenny, as a container does.

Guarantees that containers run the very command lines that `make up` does. The process becomes
the program instead of starting it, so that signals and exit codes are the program's own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

from settings import Settings, SettingsError
from stack.processes import MIGRATIONS, app_commands

MIGRATIONS_ROLE = "migrations"


def main(arguments: Sequence[str] | None = None) -> int:
    """Become the program of the role that is named. Returns: the exit code, when it cannot."""
    role: str = _parser().parse_args(arguments).role
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        return _refuse(str(error))
    commands = role_commands(settings)
    if role in commands:
        environment = role_environment(role, os.environ, settings)
        os.execve(commands[role][0], commands[role], environment)  # noqa: S606 - that is the task
    return _refuse(f"there is no role {role!r}: it must be one of {', '.join(commands)}")


def role_commands(settings: Settings) -> dict[str, tuple[str, ...]]:
    """What each role runs: the parts of the application, and the job that comes before them."""
    return {**app_commands(settings), MIGRATIONS_ROLE: MIGRATIONS}


def role_environment(
    role: str, environment: Mapping[str, str], settings: Settings
) -> dict[str, str]:
    """What the role's program finds in its environment: what was given, as it was given.

    But for Flower's password, which Flower reads from there by itself, and from no file.
    """
    own = dict(environment)
    if role == "flower" and settings.flower_basic_auth is not None:
        own.pop("FLOWER_BASIC_AUTH_FILE", None)
        own["FLOWER_BASIC_AUTH"] = settings.flower_basic_auth
    return own


def _refuse(why: str) -> int:
    sys.stderr.write(f"truepenny: {why}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Become one part of Truepenny.")
    parser.add_argument("role", help="api, money, scans, beat, flower or migrations")
    return parser


if __name__ == "__main__":
    sys.exit(main())
