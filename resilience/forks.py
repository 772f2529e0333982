"""Fork handling: lets an object start over in a forked child.

Only the thread that forked exists in the child. A lock that another thread held stays locked,
and the work of another thread never ends. Objects of this package discard both.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from types import MethodType
from typing import Any, Final, cast
from weakref import ref


class _InChildren:
    """The methods to call in children, in order of registration; each ends with its object."""

    def __init__(self) -> None:
        self._methods: dict[int, tuple[ref[Any], Callable[[Any], None]]] = {}
        # Registered until the interpreter ends: then objects are destroyed after their modules.
        os.register_at_fork(after_in_child=self._call)

    def add(self, method: MethodType) -> None:
        # No WeakMethod: it fails, loudly, when an object and its class are collected together.
        reference = ref(method.__self__, self._forget)
        self._methods[id(reference)] = (reference, method.__func__)

    def _forget(self, reference: ref[Any]) -> None:
        self._methods.pop(id(reference), None)

    def _call(self) -> None:
        for reference, function in list(self._methods.values()):
            alive = reference()
            if alive is not None:
                function(alive)


_IN_CHILDREN: Final = _InChildren()


def call_in_children(method: Callable[[], None]) -> None:
    """Call this bound method in every child that is forked while its object lives."""
    _IN_CHILDREN.add(cast(MethodType, method))
