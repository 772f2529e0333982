"""Small values that outlive a run: generated passwords, keys and chosen ports.

Each is a file of its own that only its owner can read, written whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KeptValues:
    """The kept values of one data folder."""

    folder: Path

    def path(self, name: str) -> Path:
        """The file that holds the value; it exists once the value has been kept."""
        return self.folder / name

    def read(self, name: str) -> str | None:
        """The kept value, or None when there is none yet.

        A line break at its end is from a person who replaced it, and no part of it.
        """
        try:
            return self.path(name).read_text().removesuffix("\n")
        except FileNotFoundError:
            return None

    def write(self, name: str, value: str) -> None:
        """Keep `value`, in place of an earlier one."""
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
        """The kept value, or what `make` returns, kept from now on."""
        value = self.read(name)
        if value is None:
            value = make()
            self.write(name, value)
        return value
