"""Makes `.venv` and installs one pinned, hashed requirements file into it.

Runs on the system's Python before anything is installed, so it uses the standard library only.
A second call with unchanged requirements does nothing and takes milliseconds. After an
interrupted call the next one installs again, since a file is marked as installed at the end.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
FAST = ROOT / "requirements-fast.txt"
PROGRESS_EVERY_S = 5.0


class InstallError(RuntimeError):
    """The environment could not be made; the message says which part."""


def prepare(requirements: Path) -> None:
    """Install what `requirements` pins into the environment. Harmless to repeat.

    Raises: InstallError: when the environment cannot be made, or a package cannot be installed.
    """
    with _alone():
        if not _works():
            _say(f"making .venv with Python {sys.version.split()[0]}")
            try:
                venv.create(ENVIRONMENT, clear=True, symlinks=True, with_pip=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise InstallError(f".venv could not be made: {error}") from error
        _once(requirements, install)
        if shutil.which("cc"):
            _once(FAST, build_if_possible)


def install(requirements: Path) -> None:
    """Install wheels only: a source package would run a build with unpinned tools.

    Prints every few seconds how many packages have been fetched.
    """
    pinned = sum(
        "==" in line for line in requirements.read_text().splitlines() if line[:1].isalnum()
    )
    if _run_with_progress(_pip_command("--only-binary=:all:", requirements), total=pinned) != 0:
        raise InstallError(
            f"{requirements.name} could not be installed: see the messages of pip above"
        )


def build_if_possible(requirements: Path) -> None:
    """Build packages that make Truepenny faster; nothing depends on them."""
    command = _pip_command("--quiet", "--no-build-isolation", requirements)
    if subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) != 0:
        _say(
            f"{requirements.name} could not be built here: everything works without it, only slower"
        )


def _once(requirements: Path, action: Callable[[Path], None]) -> None:
    stamp = ENVIRONMENT / f".installed-{requirements.stem}"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    _say(f"installing {requirements.name} into .venv")
    action(requirements)
    stamp.write_text(wanted)


def _works() -> bool:
    """Return whether the environment's Python runs: a system upgrade may have removed it."""
    check = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    silent = subprocess.DEVNULL
    return PYTHON.exists() and not subprocess.call(
        [PYTHON, "-c", check], stdout=silent, stderr=silent
    )


def _pip_command(*arguments: str | Path) -> list[str]:
    options = ("--disable-pip-version-check", "--progress-bar=off", "--require-hashes")
    *more, requirements = map(str, arguments)
    pip = (str(PYTHON), "-m", "pip", "install")
    return [*pip, *options, *more, "--requirement", requirements]


def _run_with_progress(command: list[str], *, total: int) -> int:
    """Run pip, and print its progress now and then instead of its many lines."""
    fetched = 0
    is_installing = False
    printed_at_s = time.monotonic()
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=unbuffered) as process:
        for line in process.stdout or ():
            fetched += line.startswith(("Collecting ", "Requirement already satisfied"))
            if line.startswith("Installing collected packages"):
                is_installing = True
                _say(f"all {fetched} packages fetched, installing them")
            elif not is_installing and time.monotonic() - printed_at_s >= PROGRESS_EVERY_S:
                printed_at_s = time.monotonic()
                _say(f"{fetched} of about {total} packages fetched")
    return process.returncode


@contextmanager
def _alone() -> Iterator[None]:
    """Keep a second `make` from installing into the same environment at the same time."""
    folder = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _say(line: str) -> None:
    print(f"truepenny: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Prepare the environment for the requirements file named on the command line."""
    try:
        prepare(ROOT / sys.argv[1])
    except InstallError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
