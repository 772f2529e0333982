"""Fork-safe objects: start over in a child, and are forgotten once nothing refers to them."""

from __future__ import annotations

import gc
import subprocess
import sys

from resilience.forks import _IN_CHILDREN, call_in_children
from testing.forks import holds_in_child
from testing.servers.shared import ROOT


class Counted:
    """Counts the forks since it was made."""

    def __init__(self) -> None:
        self.forks = 0
        call_in_children(self._count)

    def _count(self) -> None:
        self.forks += 1


def test_each_object_that_lives_is_called_once_in_a_child_and_not_in_the_parent() -> None:
    alive = [Counted() for _ in range(3)]
    Counted()
    assert holds_in_child(lambda: [each.forks for each in alive] == [1, 1, 1])
    assert [each.forks for each in alive] == [0, 0, 0]


def test_an_object_that_is_gone_leaves_nothing_behind() -> None:
    gc.collect()
    before = set(_IN_CHILDREN._methods)
    for _ in range(1000):  # such as one for each connection, for as long as a process lives
        Counted()
    gc.collect()
    assert set(_IN_CHILDREN._methods) <= before


def test_objects_that_go_with_their_classes_at_the_end_of_a_process_say_nothing() -> None:
    program = """
import gc
import subprocess
import sys
from resilience.forks import call_in_children

def make():
    class Counted:
        def __init__(self):
            self.itself = self
            call_in_children(self.count)

        def count(self):
            pass

    return Counted()

made = [make() for _ in range(10)]
del made[:5]
gc.collect()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr == ""
