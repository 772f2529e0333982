"""Programs that tests need and pip cannot install: where they are and how to get them.

A test or a fixture asks for a program's path where it starts the program. testing/suite/left_out.py
turns the error of a missing one into a skipped test, so no test has to declare anything.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError

ROOT = Path(__file__).parents[1]


class MissingProgram(StackError):
    """A program is not installed; the message names it and the way to get it."""

    def __init__(self, program: Program) -> None:
        super().__init__(f"{program.name} is not installed: {how_to_get([program])}")
        self.program = program


@dataclass(frozen=True)
class Program:
    """One program: a command, or one file at a known place."""

    name: str
    """The name to show."""
    places: tuple[str, ...]
    """Absolute paths, or commands on PATH; the first that exists is used."""
    package: str
    """The Debian package that contains it, or that is needed to build it."""
    then: str = ""
    """The command that builds it, run in the folder of the project."""

    def find(self) -> Path | None:
        """Return the path of the program, or None where it is not installed."""
        found = (shutil.which(place) for place in self.places)
        return next((Path(path) for path in found if path), None)

    def path(self) -> Path:
        """Return the path of the program.

        Raises: MissingProgram: when it is not installed; the test that asked is then skipped.
        """
        found = self.find()
        if found is None:
            raise MissingProgram(self)
        return found


# Not the command in /usr/sbin, which changes to the account of the system's RabbitMQ.
RABBITMQ = Program("RabbitMQ", ("/usr/lib/rabbitmq/bin/rabbitmq-server",), "rabbitmq-server")
PGBOUNCER = Program("PgBouncer", ("pgbouncer", "/usr/sbin/pgbouncer"), "pgbouncer")
CHROMIUM = Program("Chromium", ("chromium", "/usr/bin/chromium"), "chromium")
PROMTOOL = Program("promtool", ("promtool",), "prometheus")
OPENSSL = Program("openssl", ("openssl",), "openssl")
KUSTOMIZE = Program(
    "kustomize", (str(ROOT / ".tools" / "kustomize"),), "golang-go", then="make kustomize"
)
# `--no-sandbox` is needed as root; the others stop requests that are not the page's own.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PROGRAMS = (RABBITMQ, PGBOUNCER, CHROMIUM, PROMTOOL, OPENSSL, KUSTOMIZE)


def how_to_get(programs: list[Program]) -> str:
    """Return one shell command that installs all of them, for root on Debian."""
    packages = " ".join(program.package for program in programs)
    builds = (program.then for program in programs if program.then)
    return " && ".join([f"apt-get install {packages}", *builds])
