"""Thread limit: lets no new thread start, as on a machine that has reached its limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STACK_BYTES = 2**47
"""More than a process can address, so that starting a thread fails."""


@contextmanager
def no_new_threads() -> Iterator[None]:
    """Make every start of a thread in this process fail. Running threads continue."""
    before = threading.stack_size(_STACK_BYTES)
    try:
        yield
    finally:
        threading.stack_size(before)
