"""Heartbeat files: one per program on this machine, touched for as long as it goes on.

Guarantees that a file is never half there, and that looking at it needs nothing but the file
system: no broker, no cache, no database. Its time of change is the file system's own clock;
its content is the id of the process that touches it, for whoever must end that.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_CLOCKS_AGREE_WITHIN_S = 1.0


def folder(data_dir: Path) -> Path:
    """Return where the heartbeat files of this machine are."""
    return data_dir / "run" / "heartbeats"


class HeartbeatFile:
    """The file of one program, which this process touches."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = path(folder, name)
        self._is_ours = False

    def touch(self) -> None:
        """Say that this process goes on. Cheap; the first call writes the file anew.

        Raises: OSError: when the file system does not take it.
        """
        if self._is_ours:
            try:
                os.utime(self._path)
            except FileNotFoundError:  # somebody tidied up
                self._write()
        else:
            self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        partial.write_text(f"{os.getpid()}\n")
        partial.replace(self._path)
        self._is_ours = True


def path(folder: Path, name: str) -> Path:
    """Return the file of a program.

    Raises: ValueError: when the name is none for a file.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"a heartbeat cannot be called {name!r}")
    return folder / name


def age_s(folder: Path, name: str) -> float | None:
    """Return how long ago the file was touched; None when there is none.

    A file from the future has no age either: the clock was set back, and whoever is alive
    touches it again in a moment, while one who hangs must not look alive until then.
    """
    try:
        touched_at_s = path(folder, name).stat().st_mtime
    except FileNotFoundError:
        return None
    age_s = time.time() - touched_at_s
    return max(age_s, 0.0) if age_s > -_CLOCKS_AGREE_WITHIN_S else None


def process_id(folder: Path, name: str) -> int | None:
    """Return the id of the process that touches the file; None when nobody has yet."""
    try:
        text = path(folder, name).read_text().strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isascii() and text.isdigit() else None
