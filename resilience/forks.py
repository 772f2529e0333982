"""Fork handling: lets an object start over in a forked child.

In a child only the thread that forked goes on. A lock that another thread held stays locked,
and what another thread was doing never ends. Objects of this package drop both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakMethod


def call_in_children(method: Callable[[], None]) -> None:
    """Call this bound method in every child that is forked while its object lives.

    Each call costs a few bytes for as long as the process lives: for objects of which a
    process makes a bounded number.
    """
    reference = WeakMethod(method)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive()

    os.register_at_fork(after_in_child=call)
