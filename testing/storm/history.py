"""Record of a storm: writes docs/HISTORY.md's lines, from any thread, as things happen."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO


class Recorder:
    """Writes one file. Times are seconds since it was made."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w")
        self._lock = threading.Lock()
        self._began_s = time.monotonic()
        self._operations = itertools.count(1)
        self.counts: Counter[str] = Counter()
        self.broken: set[str] = set()
        """The faults that are there at this moment."""

    def now(self) -> float:
        return round(time.monotonic() - self._began_s, 4)

    def count(self, name: str, number: int = 1) -> None:
        """Count something that a storm should bring about."""
        with self._lock:
            self.counts[name] += number

    def write(self, type: str, **fields: Any) -> float:
        """Write a line with the time at which it is written. Returns: that time."""
        with self._lock:
            at = self.now()
            self._file.write(json.dumps({"type": type, "at": at, **fields}) + "\n")
        return at

    def invoke(self, **fields: Any) -> int:
        """Write that a request begins. Returns: its number."""
        op = next(self._operations)
        self.write("invoke", op=op, **fields)
        return op

    def close(self) -> None:
        self._file.close()
