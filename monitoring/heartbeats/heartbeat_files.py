"""Heartbeat files: one per program on this machine, touched for as long as it goes on.

Guarantees that looking at one needs nothing but the file system: no broker, no cache, no
database. What counts is the time of its last change, by the file system's own clock. The files
are empty: a full disk, on which nothing could be written, must not look like a program that
hangs.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

START_WITHIN_S = 60.0
"""How long a program may take from its start to its first heartbeat, on a machine that is busy
with the start of all others."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_CLOCKS_AGREE_WITHIN_S = 1.0
_END_WITHIN_S = 90.0
"""Longer than a task may take. What has not ended by then hangs."""
_LAST_BEATS_S = 5.0
"""Heartbeats may go on for so long after the end has begun; later ones are of another process."""


def folder(data_dir: Path) -> Path:
    """Return where the heartbeat files of this machine are."""
    return data_dir / "run" / "heartbeats"


class HeartbeatFile:
    """The file of one program, which this process touches."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = path(folder, name)

    def touch(self) -> None:
        """Say that this process goes on. Cheap.

        Raises: OSError: when the file system does not take it.
        """
        try:
            os.utime(self._path)
        except FileNotFoundError:  # the first time, or somebody tidied up
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch()


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


def note_ending(folder: Path, name: str) -> None:
    """Say that this process was asked to end: its loop stops, and what is under way ends first.

    Raises: OSError: when the file system does not take it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _ending(folder, name).touch()


def is_ending(folder: Path, name: str) -> bool:
    """Whether the program was asked to end, not long ago, and no other has begun since."""
    asked_s = age_s(folder, _ending(folder, name).name)
    beat_s = age_s(folder, name)
    if asked_s is None or asked_s > _END_WITHIN_S:
        return False
    return beat_s is None or beat_s > asked_s - _LAST_BEATS_S


def _ending(folder: Path, name: str) -> Path:
    return path(folder, f"{name}.ending")
