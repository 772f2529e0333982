"""Heartbeat files: one per program on this machine, touched for as long as its loop runs.

Guarantees that reading one needs only the file system: no broker, no cache, no database. Its time
of last change counts, by the file system's own clock. The files are empty: a full disk must not
look like a program that hangs.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

START_WITHIN_S = 60.0
"""How long a program may take from its start to its first heartbeat, on a machine where all
other programs start at the same time."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_CLOCKS_AGREE_WITHIN_S = 1.0
_END_WITHIN_S = 90.0
"""Longer than a task may take. A program that has not ended by then hangs."""
_LAST_BEATS_S = 5.0
"""Heartbeats may go on for so long after a program was asked to end; later ones are of a new
process."""


def folder(data_dir: Path) -> Path:
    """Return where the heartbeat files of this machine are."""
    return data_dir / "run" / "heartbeats"


class HeartbeatFile:
    """The file of one program, which this process touches."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = path(folder, name)

    def touch(self) -> None:
        """Record that this process is running. Cheap.

        Raises: OSError: when the file cannot be written.
        """
        try:
            os.utime(self._path)
        except FileNotFoundError:  # the first time, or it was deleted
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()


def path(folder: Path, name: str) -> Path:
    """Return the file of a program.

    Raises: ValueError: when the name is not allowed for a file.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"a heartbeat cannot be called {name!r}")
    return folder / name


def age_s(folder: Path, name: str) -> float | None:
    """Return how long ago the file was touched; None when there is none.

    A file from the future has no age either: the clock was set back. A living program touches
    it again at once, and one that hangs must not seem alive until then.
    """
    try:
        touched_at_s = path(folder, name).stat().st_mtime
    except FileNotFoundError:
        return None
    age_s = time.time() - touched_at_s
    return max(age_s, 0.0) if age_s > -_CLOCKS_AGREE_WITHIN_S else None


def note_ending(folder: Path, name: str) -> None:
    """Record that this process was asked to end: its loop stops, and its current work ends first.

    Raises: OSError: when the file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _ending(folder, name).touch()


def is_ending(folder: Path, name: str) -> bool:
    """Whether the program was asked to end recently, and no new process has started since."""
    asked_s = age_s(folder, _ending(folder, name).name)
    beat_s = age_s(folder, name)
    if asked_s is None or asked_s > _END_WITHIN_S:
        return False
    return beat_s is None or beat_s > asked_s - _LAST_BEATS_S


def _ending(folder: Path, name: str) -> Path:
    return path(folder, f"{name}.ending")
