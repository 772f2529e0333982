"""Metrics files: write the numbers of each process to small files that survive a crash.

Guarantees that an update never raises and waits only for a write to the page cache. If the folder
is full, broken or read-only, this process writes no metrics for a while, and logs that once. The
counts survive the process, however it ends. There are never more files than processes that ran at
the same time: a new process takes the slot of a dead one and continues its counts.

The files have the format of prometheus_client's multiprocess mode, and its collector reads them.
Its own writer maps them into memory: on a full disk, the kernel kills a process that writes to
such a page. It also opens a file for each process id, so workers that replace their children for
days leave thousands. That is why its metric classes get our `FileValue` for each of their numbers.
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

MAX_SLOTS: Final = 512
PAUSED_FOR_S: Final = 30.0

_HEAD = 8
_LENGTH = struct.Struct("i")
_NUMBER = struct.Struct("d")

log = get_logger(__name__)


class DamagedFile(Exception):
    """A metrics file cannot be read."""


class FileValue:
    """One number of one process: the value class of `prometheus_client`.

    `saved` is the number that was last written to the file. Its methods never raise.
    """

    __slots__ = ("_store", "file", "key", "kind", "number", "opened", "position", "saved")

    def __init__(self, store: MetricStore, kind: str, key: str) -> None:
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

    def set(self, number: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - API
        store = self._store
        with store.lock:
            self.number = number
            store.save(self)

    def get(self) -> float:
        return self.number

    def set_exemplar(self, exemplar: object) -> None:
        """Do nothing: the files cannot hold exemplars."""

    def get_exemplar(self) -> None:
        """Return none: see `set_exemplar`."""


def _outage_log() -> OutageLog:
    return OutageLog(log, "metrics_silent", "metrics_heard_again")


class MetricStore:
    """The values of this process. Safe to use from many threads, and across forks."""

    def __init__(self, *, paused_for_s: float = PAUSED_FOR_S) -> None:
        """Take for how long to pause writing after a write has failed."""
        self.lock = threading.Lock()
        self._paused_for_s = paused_for_s
        self._folder: Path | None = None
        self._values: list[FileValue] = []
        self._opened = 0
        self._files: dict[str, _File] = {}
        self._slot: _Slot | None = None
        self._paused_until_s = 0.0
        self._outage = _outage_log()
        os.register_at_fork(after_in_child=self._after_fork)

    def use(self, folder: Path) -> None:
        """Write to this folder, in this process and in those that it forks from now on."""
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
    ) -> FileValue:
        """Create a value, as a value class does. It is written at once, so that zero is visible."""
        value = FileValue(
            self,
            f"{kind}_{multiprocess_mode}" if multiprocess_mode else kind,
            mmap_key(metric, name, list(labels), list(label_values), help_text),
        )
        with self.lock:
            self._values.append(value)
            self.save(value)
        return value

    def save(self, value: FileValue) -> None:
        """Write the value to its file, if there is a folder. Needs the lock. Never raises."""
        if self._folder is None:
            return
        if self._paused_until_s and time.monotonic() < self._paused_until_s:
            return
        try:
            if value.opened != self._opened:
                self._open(value)
            value.file.write(value.position, value.number)
            value.saved = value.number
        except OSError as error:
            self._outage.failed(error=error.strerror or type(error).__name__)
            self._paused_until_s = time.monotonic() + self._paused_for_s
            self._opened += 1  # all values are opened again after that, if possible
            self._close_files()
        else:
            self._paused_until_s = 0.0
            self._outage.recovered()

    def _open(self, value: FileValue) -> None:
        if self._slot is None:
            self._slot = _Slot(self._folder or Path())
        file = self._files.get(value.kind)
        if file is None:
            file = self._files[value.kind] = _File(self._slot.path(value.kind))
        value.position = file.position(value.key)
        if not value.kind.startswith("gauge"):
            # Add counts of earlier processes in this slot, and those that could not be written.
            value.number = file.read(value.position) + value.number - value.saved
        value.file, value.opened = file, self._opened

    def _close_files(self) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}

    def _after_fork(self) -> None:
        """Start at zero in an own slot: the numbers and files are those of the parent."""
        self.lock = threading.Lock()  # a thread of the parent may have held it
        self._close_files()
        if self._slot is not None:
            self._slot.close()
        self._slot = None
        self._paused_until_s, self._outage = 0.0, _outage_log()
        self._opened += 1
        for value in self._values:
            value.number = value.saved = 0.0


STORE: Final = MetricStore()
"""The values of this process."""
values.ValueClass = STORE.value
"""The metric classes of `prometheus_client` call this to create each of their numbers."""


class _Slot:
    """A number that this process owns while it lives; the kernel releases its file lock.

    Raises: OSError: when all are taken.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for number in range(MAX_SLOTS):
            lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            self._lock, self._number = lock, number
            # Gauges end with the process that set them; its counts stay.
            self.path("gauge_liveall").unlink(missing_ok=True)
            return
        raise OSError(errno.EMFILE, "all slots for metrics are taken")

    def path(self, kind: str) -> Path:
        return self._folder / f"{kind}_{self._folder.name.replace('_', '-')}-{self._number}.db"

    def close(self) -> None:
        os.close(self._lock)


class _File:
    """Numbers by key, written in place.

    The length in its head grows only after an entry is complete: neither a reader nor the next
    process in this slot ever sees half an entry.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._positions: dict[str, int] = {}
        self._used = _HEAD
        content = _read(self._file)
        try:
            self._positions = {key: position for key, position, _ in entries(content)}
            self._used = _used(content)
        except DamagedFile:
            os.ftruncate(self._file, 0)

    def position(self, key: str) -> int:
        """Return where the number of this key is. Add it if the file has none."""
        if key not in self._positions:
            written = key.encode()
            # Padding aligns the numbers to eight bytes, so that each is written at once.
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
        with suppress(OSError):  # the disk may be gone
            os.close(self._file)

    def _put(self, content: bytes, position: int) -> None:
        if os.pwrite(self._file, content, position) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def entries(content: bytes) -> list[tuple[str, int, float]]:
    """Read a file's entries: key, position of the number, number.

    Raises: DamagedFile: when the content is not in the format that this module writes.
    """
    try:
        return list(_entries(content))
    except (struct.error, ValueError) as error:
        raise DamagedFile from error


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


def is_alive(folder: Path, slot: str) -> bool:
    """Whether the process that has this slot in the folder is alive."""
    try:
        lock = os.open(folder / f"{slot}.lock", os.O_RDONLY | os.O_CLOEXEC)
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
    """Delete the files of earlier runs. A process that still writes to one does no harm.

    Raises: OSError: when a file cannot be deleted.
    """
    if folder.is_dir():
        for file in folder.iterdir():
            if file.suffix in (".db", ".lock"):
                file.unlink(missing_ok=True)


def _used(content: bytes) -> int:
    return max(int(_LENGTH.unpack_from(content)[0]), _HEAD) if content else _HEAD


def _read(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)
