"""Machine of a storm: what only some machines can do, a false clock and a small disk."""

from __future__ import annotations

import errno
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SIZE = "1g"
_PIECE = bytes(1 << 20)
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"


def missing() -> dict[str, str]:
    """Return the faults that cannot be made on this machine, each with the reason."""
    found = {}
    if faketime() is None:
        for name in ("worker clock wrong", "beat clock wrong"):
            found[name] = "faketime is not installed: apt-get install faketime"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder)):
                pass
        except (OSError, subprocess.CalledProcessError):
            found["database disk full"] = "a tmpfs cannot be mounted: this needs root"
    return found


def faketime() -> Path | None:
    """Return the library that changes a program's clock."""
    return next(Path("/").glob(FAKETIME.removeprefix("/")), None)


def false_clock(offset_s: int) -> dict[str, str]:
    """Return the environment of a program whose clock is wrong by this."""
    return {
        "LD_PRELOAD": str(faketime()),
        "FAKETIME": f"{offset_s:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # no clock of a machine changes that
    }


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Keep a small file system of its own in the folder.

    Raises: OSError, subprocess.CalledProcessError: when this machine does not allow it.
    """
    options = f"size={_SIZE},mode=711"
    mount = ("mount", "-t", "tmpfs", "-o", options, "truepenny-storm", str(folder))
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(("umount", "--lazy", str(folder)), check=True, capture_output=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no room on the disk for the block."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(_PIECE)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        yield
    finally:
        filler.unlink(missing_ok=True)
