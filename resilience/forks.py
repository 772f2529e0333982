"""Fork handling: lets an object start over in a forked child.

Only the thread that forked exists in the child. A lock that another thread held stays locked,
and the work of another thread never ends. Objects of this package discard both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakMethod


def call_in_children(method: Callable[[], None]) -> None:
    """Call this bound method in every forked child for as long as its object exists.

    Each registration costs a few bytes until the process ends, so use it only for objects of
    which a process creates a limited number.
    """
    reference = WeakMethod(method)

    def call() -> None:
        bound = reference()
        if bound is not None:
            bound()

    os.register_at_fork(after_in_child=call)
