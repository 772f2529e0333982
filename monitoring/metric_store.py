"""Where the processes of a program keep what they measure: one small file per process and kind.

Guarantees that measuring never fails and never waits for more than a write to the file system's
memory: a folder that is full, broken or read-only silences the metrics of this process for a
while, with one line of the log, and nothing else. What was counted survives the death of the
process, whatever killed it, and however often processes are replaced, the files are as many as
processes lived at once: a new process takes over the place of a dead one and counts on from there.

The files are those of prometheus_client's multiprocess mode, and its collector reads them. They
are written here because its writer maps them into memory: where the disk is full, a process that
touches such a page is killed. And it opens a file per process id, so a worker that replaces its
children for days leaves thousands.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from monitoring.logs import get_logger

Kind = Literal["counter", "histogram", "gauge_liveall"]

MAX_PLACES = 512
SILENT_FOR_S = 30.0

_HEAD = 8
_LENGTH = struct.Struct("i")
_NUMBER = struct.Struct("d")

log = get_logger(__name__)


class Damaged(Exception):
    """A file of numbers that cannot be read."""


class Value:
    """One number of one process. `saved` is what of it the file is known to hold."""

    __slots__ = ("file", "key", "kind", "number", "opened", "position", "saved")

    def __init__(self, kind: Kind, key: str) -> None:
        self.kind = kind
        self.key = key
        self.number = self.saved = 0.0
        self.opened = -1
        self.file: _File
        self.position = 0


class Store:
    """The values of this process. Safe to use from many threads, and across forks."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._values: list[Value] = []
        self._opened = 0
        self._files: dict[Kind, _File] = {}
        self._place: _Place | None = None
        self._is_silent = False
        self._silent_until_s = 0.0
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def use(self, folder: Path) -> None:
        """Keep values in this folder, in this process and in those that it forks from now on."""
        with self._lock:
            self._folder = folder
            self._opened += 1

    def add(self, value: Value, amount: float) -> None:
        """Add to a counter. Never raises."""
        with self._lock:
            value.number += amount
            if self._folder is not None:
                self._save(value)

    def set(self, value: Value, number: float) -> None:
        """Set a gauge. Never raises."""
        with self._lock:
            value.number = number
            if self._folder is not None:
                self._save(value)

    def new(self, kind: Kind, key: str) -> Value:
        """Make a value. Its file has it from now on, so that it is seen while it is zero."""
        value = Value(kind, key)
        with self._lock:
            self._values.append(value)
            if self._folder is not None:
                self._save(value)
        return value

    def _save(self, value: Value) -> None:
        if self._silent_until_s and time.monotonic() < self._silent_until_s:
            return
        try:
            if value.opened != self._opened:
                self._open(value)
            value.file.write(value.position, value.number)
            value.saved = value.number
        except OSError as error:
            self._fall_silent(error)
        else:
            if self._is_silent:
                self._is_silent, self._silent_until_s = False, 0.0
                log.warning("metrics_heard_again")

    def _open(self, value: Value) -> None:
        if self._place is None:
            self._place = _Place(self._folder or Path())
        file = self._files.get(value.kind)
        if file is None:
            file = self._files[value.kind] = _File(self._place.path(value.kind))
        value.position = file.position(value.key)
        if value.kind != "gauge_liveall":
            # What was counted here before this process, and by it while it could not write.
            value.number = file.read(value.position) + value.number - value.saved
        value.file, value.opened = file, self._opened

    def _fall_silent(self, error: OSError) -> None:
        if not self._is_silent:
            log.warning("metrics_silent", error=error.strerror or type(error).__name__)
        self._is_silent = True
        self._silent_until_s = time.monotonic() + SILENT_FOR_S
        self._opened += 1  # everything is opened anew after that, as far as it can be
        for file in self._files.values():
            file.close()
        self._files = {}

    def _after_fork(self) -> None:
        """Begin at nothing, in a place of one's own: what is here is the parent's."""
        self._lock = threading.Lock()  # some thread of the parent may have held it
        for file in self._files.values():
            file.close()
        if self._place is not None:
            self._place.close()
        self._files, self._place = {}, None
        self._is_silent, self._silent_until_s = False, 0.0
        self._opened += 1
        for value in self._values:
            value.number = value.saved = 0.0


class _Place:
    """A number that belongs to this process for as long as it lives: the system sees to that.

    Raises: OSError: when there is none.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for number in range(MAX_PLACES):
            lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            self._lock, self._number = lock, number
            # What the one before said of itself dies with it; what it counted does not.
            self.path("gauge_liveall").unlink(missing_ok=True)
            return
        raise OSError(errno.EMFILE, "all places for metrics are taken")

    def path(self, kind: Kind) -> Path:
        return self._folder / f"{kind}_{self._folder.name.replace('_', '-')}-{self._number}.db"

    def close(self) -> None:
        os.close(self._lock)


class _File:
    """Numbers by their keys, written in place.

    Its length, as written in its head, grows only when what it covers is there: a reader, or
    whoever comes after this process was killed, never sees half an entry.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._positions: dict[str, int] = {}
        self._used = _HEAD
        content = _read(self._file)
        try:
            self._positions = {key: position for key, position, _ in entries(content)}
            self._used = _used(content)
        except Damaged:
            os.ftruncate(self._file, 0)

    def position(self, key: str) -> int:
        """Where the number of this key is, which is made if need be."""
        if key not in self._positions:
            written = key.encode()
            # Eight bytes for each number, where eight bytes can be written at once.
            padded = written + b" " * (8 - (len(written) + _LENGTH.size) % 8)
            entry = _LENGTH.pack(len(written)) + padded + _NUMBER.pack(0.0) * 2
            self._put(entry, self._used)
            self._used += len(entry)
            self._put(_LENGTH.pack(self._used), 0)
            self._positions[key] = self._used - 2 * _NUMBER.size
        return self._positions[key]

    def read(self, position: int) -> float:
        return float(_NUMBER.unpack(os.pread(self._file, _NUMBER.size, position))[0])

    def write(self, position: int, number: float) -> None:
        self._put(_NUMBER.pack(number), position)

    def close(self) -> None:
        with suppress(OSError):  # of a disk that is gone
            os.close(self._file)

    def _put(self, content: bytes, position: int) -> None:
        if os.pwrite(self._file, content, position) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def entries(content: bytes) -> list[tuple[str, int, float]]:
    """Read a file's entries: key, position of the number, number.

    Raises: Damaged: when something else than we has written there.
    """
    try:
        return list(_entries(content))
    except (struct.error, ValueError) as error:
        raise Damaged from error


def _entries(content: bytes) -> Iterator[tuple[str, int, float]]:
    used, position = _used(content), _HEAD
    if used > len(content):
        raise ValueError("it ends before its last entry")
    while position < used:
        (length,) = _LENGTH.unpack_from(content, position)
        start = position + _LENGTH.size
        key = content[start : start + length].decode()
        position = start + length + 8 - (length + _LENGTH.size) % 8
        if not start <= position < used:
            raise ValueError("an entry is longer than the file")
        yield key, position, _NUMBER.unpack_from(content, position)[0]
        position += 2 * _NUMBER.size


def is_alive(folder: Path, place: str) -> bool:
    """Whether the process lives that has this place in the folder."""
    try:
        lock = os.open(folder / f"{place}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def wipe(folder: Path) -> None:
    """Forget what earlier runs have measured. Removes names only: who still writes does no harm.

    Raises: OSError: when the folder does not let us.
    """
    if folder.is_dir():
        for file in folder.iterdir():
            if file.suffix in (".db", ".lock"):
                file.unlink(missing_ok=True)


def _used(content: bytes) -> int:
    return max(int(_LENGTH.unpack_from(content)[0]), _HEAD) if content else _HEAD


def _read(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)
