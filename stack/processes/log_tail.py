"""Log tail: shows serious lines of the log files on the terminal of `make up`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

_MAX_LINES = 20
# For lines of servers and libraries. ERROR is left out: in PostgreSQL it is often only a failed
# constraint, which the program that caused it reports itself.
_SERIOUS = re.compile(r"\b(CRITICAL|FATAL|PANIC)\b")
_SERIOUS_LEVELS = ("warning", "error", "critical")
_NOT_SHOWN = ("at", "logger", "process", "exception")
_ENDED = re.compile(r" exited: (?P<name>\S+) \((?P<how>.+?)(; (not )?expected)?\)$")


class LogTail:
    """Reads the lines that are added to one log file after the tail was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = self._size()

    def important_lines(self) -> Iterator[str]:
        """Return the new serious lines, `_MAX_LINES` at most: the file has the rest."""
        shown = filter(None, map(self._shown, self._new_lines()))
        for number, line in enumerate(shown):
            if number == _MAX_LINES:
                yield f"{self._path.stem} | ... more in {self._path}"
                return
            yield line

    def _new_lines(self) -> list[str]:
        size = self._size()
        if size < self._position:  # supervisor began a new file
            self._position = 0
        if size == self._position:
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            whole, newline, _ = file.read(size - self._position).rpartition(b"\n")
        self._position += len(whole) + len(newline)
        # Not `splitlines`, which breaks also at characters that a text from outside may hold.
        return whole.decode(errors="replace").split("\n")

    def _shown(self, line: str) -> str | None:
        if ended := _ENDED.search(line):
            return f"{ended['name']} ended ({ended['how']}): starting it again"
        if not line.startswith("{"):
            return f"{self._path.stem} | {line}" if _SERIOUS.search(line) else None
        # A line of our own logs, shown as text without time and logger; the file has the rest.
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return f"{self._path.stem} | {line}"
        if event.get("level") not in _SERIOUS_LEVELS:
            return None
        for name in _NOT_SHOWN:
            event.pop(name, None)
        from monitoring.logs import printable, terminal_renderer  # 6 MB, for lines that are rare

        text = terminal_renderer(colors=False)(None, "", printable(None, "", event))
        return f"{self._path.stem} | {text}"

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0
