"""Writes the metrics of each process to small files that survive a crash.

Guarantees that an update never raises and waits for no more than a write to the page cache. If
the folder is full, broken or read-only, this process writes no metrics for a while; the log says
so once. What was counted survives the process, however it ended. There are never more files than
processes that ran at the same time: a new process takes the place of a dead one and counts on.

The files are those of prometheus_client's multiprocess mode, and its collector reads them. Its
own writer maps them into memory: on a full disk, the kernel kills a process that touches such a
page. It also opens a file for each process id, so workers that replace their children for days
leave thousands. So its metric classes are given our `Value` for each of their numbers.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client import values
from prometheus_client.mmap_dict import mmap_key

from monitoring.logs import get_logger
from resilience.outage_log import OutageLog

MAX_PLACES: Final = 512
SILENT_FOR_S: Final = 30.0

_HEAD = 8
_LENGTH = struct.Struct("i")
_NUMBER = struct.Struct("d")

log = get_logger(__name__)


class Damaged(Exception):
    """A file of numbers that cannot be read."""


class Value:
    """One number of one process; `prometheus_client` calls it the value class.

    `saved` is what of the number the file is known to hold. Its methods never raise.
    """

    __slots__ = ("_store", "file", "key", "kind", "number", "opened", "position", "saved")

    def __init__(self, store: Store, kind: str, key: str) -> None:
        self._store = store
        self.kind = kind
        self.key = key
        self.number = self.saved = 0.0
        self.opened = -1
        self.file: _File
        self.position = 0

    def inc(self, amount: float) -> None:
        store = self._store
        with store.lock:
            self.number += amount
            store.save(self)

    def set(self, number: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - theirs
        store = self._store
        with store.lock:
            self.number = number
            store.save(self)

    def get(self) -> float:
        return self.number

    def set_exemplar(self, exemplar: object) -> None:
        """Do nothing: the files have no room for examples."""

    def get_exemplar(self) -> None:
        """Return none: see `set_exemplar`."""


def _outage_log() -> OutageLog:
    return OutageLog(log, "metrics_silent", "metrics_heard_again")


class Store:
    """The values of this process. Safe to use from many threads, and across forks."""

    def __init__(self, *, silent_for_s: float = SILENT_FOR_S) -> None:
        """Take how long to write nothing after a write has failed."""
        self.lock = threading.Lock()
        self._silent_for_s = silent_for_s
        self._folder: Path | None = None
        self._values: list[Value] = []
        self._opened = 0
        self._files: dict[str, _File] = {}
        self._place: _Place | None = None
        self._silent_until_s = 0.0
        self._outage = _outage_log()
        os.register_at_fork(after_in_child=self._after_fork)

    def use(self, folder: Path) -> None:
        """Keep values in this folder, in this process and in those that it forks from now on."""
        with self.lock:
            self._folder = folder
            self._opened += 1

    def value(
        self,
        kind: str,
        metric: str,
        name: str,
        labels: Sequence[str],
        label_values: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
    ) -> Value:
        """Make a value, as the value class does. Its file has it at once, so it is seen at zero."""
        value = Value(
            self,
            f"{kind}_{multiprocess_mode}" if multiprocess_mode else kind,
            mmap_key(metric, name, list(labels), list(label_values), help_text),
        )
        with self.lock:
            self._values.append(value)
            self.save(value)
        return value

    def save(self, value: Value) -> None:
        """Write the value to its file, if there is a folder. Needs the lock. Never raises."""
        if self._folder is None:
            return
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
            self._silent_until_s = 0.0
            self._outage.recovered()

    def _open(self, value: Value) -> None:
        if self._place is None:
            self._place = _Place(self._folder or Path())
        file = self._files.get(value.kind)
        if file is None:
            file = self._files[value.kind] = _File(self._place.path(value.kind))
        value.position = file.position(value.key)
        if not value.kind.startswith("gauge"):
            # What was counted here before this process, and by it while it could not write.
            value.number = file.read(value.position) + value.number - value.saved
        value.file, value.opened = file, self._opened

    def _fall_silent(self, error: OSError) -> None:
        self._outage.failed(error=error.strerror or type(error).__name__)
        self._silent_until_s = time.monotonic() + self._silent_for_s
        self._opened += 1  # all values are opened again after that, as far as possible
        for file in self._files.values():
            file.close()
        self._files = {}

    def _after_fork(self) -> None:
        """Start at zero in a place of its own: the numbers and files here are the parent's."""
        self.lock = threading.Lock()  # some thread of the parent may have held it
        for file in self._files.values():
            file.close()
        if self._place is not None:
            self._place.close()
        self._files, self._place = {}, None
        self._silent_until_s, self._outage = 0.0, _outage_log()
        self._opened += 1
        for value in self._values:
            value.number = value.saved = 0.0


STORE: Final = Store()
"""The values of this process."""
values.ValueClass = STORE.value
"""The metric classes of `prometheus_client` call this for each number, when they make it."""


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
            # Gauges end with the process that set them; what it counted stays.
            self.path("gauge_liveall").unlink(missing_ok=True)
            return
        raise OSError(errno.EMFILE, "all places for metrics are taken")

    def path(self, kind: str) -> Path:
        return self._folder / f"{kind}_{self._folder.name.replace('_', '-')}-{self._number}.db"

    def close(self) -> None:
        os.close(self._lock)


class _File:
    """Numbers by their keys, written in place.

    The length in its head grows only after an entry is complete: neither a reader nor the next
    process of this place ever sees half an entry.
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
        """Return where the number of this key is. Add it if the file has none."""
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
    """Remove the files of earlier runs. A process that still writes to one does no harm.

    Raises: OSError: when a file cannot be removed.
    """
    if folder.is_dir():
        for file in folder.iterdir():
            if file.suffix in (".db", ".lock"):
                file.unlink(missing_ok=True)


def _used(content: bytes) -> int:
    return max(int(_LENGTH.unpack_from(content)[0]), _HEAD) if content else _HEAD


def _read(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)
