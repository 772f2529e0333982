"""Kept values: generated passwords, keys and chosen ports that are used again by later runs.

Each is a file that only its owner can read, and is written completely or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KeptValues:
    """The kept values in one folder."""

    folder: Path

    def path(self, name: str) -> Path:
        """Return the file of the value; it exists once the value is written."""
        return self.folder / name

    def read(self, name: str) -> str | None:
        """Return the kept value, or None if there is none yet.

        A line break at its end was added by an editor and is not part of the value.
        """
        try:
            return self.path(name).read_text().removesuffix("\n")
        except FileNotFoundError:
            return None

    def write(self, name: str, value: str) -> None:
        """Write `value` in place of an earlier one."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        partial = self.path(f".{name}.partial")
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.path(name))

    def forget(self, name: str) -> None:
        """Remove the kept value. Harmless when there is none."""
        self.path(name).unlink(missing_ok=True)

    def read_or_make(self, name: str, make: Callable[[], str]) -> str:
        """Return the kept value, or the result of `make`, which is kept from then on."""
        value = self.read(name)
        if value is None:
            value = make()
            self.write(name, value)
        return value
