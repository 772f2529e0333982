"""A process that gets no more threads, as on a machine that is at its limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STACK_BYTES = 2**47
"""More than a process can address: every thread that is started meanwhile fails to."""


@contextmanager
def no_new_threads() -> Iterator[None]:
    """Let no thread of this process start, whoever asks for it; those that run go on."""
    before = threading.stack_size(_STACK_BYTES)
    try:
        yield
    finally:
        threading.stack_size(before)
