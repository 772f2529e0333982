"""The `make` that started us, where it was one: its end is ours, however it comes.

GNU make passes SIGTERM on to its recipe, but not a SIGINT that was sent to it alone: it waits
for the recipe to end by itself, which a stack never does. And when make is killed it passes on
nothing. So we ask the kernel to tell us of its death, and look whether it was interrupted.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from stack.launcher import die_with_parent


def end_with_make() -> None:
    """Get a SIGTERM when make dies. Does nothing where our parent is no make."""
    if started_by_make():
        die_with_parent(signal.SIGTERM)


def started_by_make() -> bool:
    """Whether our parent is a make."""
    return _parent().get("Name", "").strip() in ("make", "gmake")


def make_was_interrupted() -> bool:
    """Whether make got a SIGINT: it then no longer catches it, and waits for our end."""
    if not started_by_make():
        return False
    interrupt = 1 << (signal.SIGINT - 1)
    masks = (int(_parent().get(name, "0"), 16) for name in ("SigCgt", "SigIgn"))
    return not any(mask & interrupt for mask in masks)


def _parent() -> dict[str, str]:
    """What the kernel says of our parent; nothing when it ended just now."""
    try:
        text = Path(f"/proc/{os.getppid()}/status").read_text()
    except OSError:
        return {}
    return dict(line.split(":", 1) for line in text.splitlines())
