"""Fork handling: lets an object start over in a forked child.

In a child only the thread that forked goes on. A lock that another thread held stays locked,
and what another thread was doing never ends. Objects of this package drop both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

_methods: dict[WeakMethod[Any], None] = {}
"""To be called in children, in this order. Each goes with its object."""


def call_in_children(method: Callable[[], None]) -> None:
    """Call this bound method in every child that is forked while its object lives."""
    _methods[WeakMethod(method, _forget)] = None


def _forget(reference: WeakMethod[Any]) -> None:
    _methods.pop(reference, None)


def _call() -> None:
    for reference in list(_methods):
        method = reference()
        if method is not None:
            method()


os.register_at_fork(after_in_child=_call)
