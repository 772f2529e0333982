"""Nemesis of a storm: makes the planned faults at their times, and ends them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from testing.storm.faults import FAULTS
from testing.storm.history import Recorder
from testing.storm.plan import LATE_S, Fault, Plan, are_apart
from testing.storm.scene import NotNow, Scene

_TICK_S = 0.05
_AGAIN_S = 0.3


@dataclass
class _Active:
    fault: Fault
    context: AbstractContextManager[None]
    ends: float


@dataclass
class Nemesis:
    """Runs in the main thread, which starts processes (see `testing/storm/installation.py`)."""

    plan: Plan
    scene: Scene
    recorder: Recorder
    active: list[_Active] = field(default_factory=list)

    def run(self, keep: Callable[[], None]) -> None:
        """Make all faults, and return when the last has ended. `keep` restarts what died."""
        began = self.recorder.now()
        pending = [(began + fault.at_s, fault) for fault in self.plan.faults]
        try:
            while pending or self.active:
                keep()
                now = self.recorder.now()
                for each in [each for each in self.active if each.ends <= now]:
                    self._end(each)
                is_over = now - began > self.plan.seconds + LATE_S
                for due in [due for due in pending if due[0] <= now or is_over]:
                    pending.remove(due)
                    if not is_over and not self._begin(due[1]):
                        pending.append((now + _AGAIN_S, due[1]))
                time.sleep(_TICK_S)
        finally:
            for each in list(self.active):
                self._end(each)

    def _begin(self, fault: Fault) -> bool:
        """Make a fault. Returns: False if it cannot be made now."""
        if any(are_apart(each.fault, fault) for each in self.active):
            return False  # an earlier fault took longer to make or to end than planned
        try:
            context = FAULTS[fault.name](self.scene, fault)
            context.__enter__()
        except Exception as error:  # noqa: BLE001 - beside another fault, anything may fail
            # Each attempt is noted: it has disturbed, too, and so nothing settles before it.
            reason = str(error) if isinstance(error, NotNow) else repr(error)[:200]
            self._note(fault, "failed", reason)
            return False
        self._note(fault, "begin", "")
        self.recorder.broken.add(fault.name)
        self.recorder.count(fault.name)
        self.active.append(_Active(fault, context, self.recorder.now() + fault.lasts_s))
        return True

    def _end(self, active: _Active) -> None:
        self.active.remove(active)
        self.recorder.broken.discard(active.fault.name)
        try:
            active.context.__exit__(None, None, None)
        except Exception as error:  # noqa: BLE001 - it is over all the same: its session is dead
            self._note(active.fault, "end", repr(error)[:200])
        else:
            self._note(active.fault, "end", "")

    def _note(self, fault: Fault, phase: str, detail: str) -> None:
        self.recorder.write("nemesis", fault=fault.name, phase=phase, detail=detail)
