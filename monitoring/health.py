"""Health: what answers and what does not, within one second whatever hangs.

Guarantees that a report is bounded in time and in cost: each component is checked in a
thread of its own, and at most one check of a component is under way at a time, so that
asking often while something hangs piles nothing up. Details are sentences of our own:
an error's text may hold an address or a password.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from monitoring.logs import EventLogger

Status = Literal["ok", "degraded", "down"]

BOUND_S = 0.9

events = EventLogger(__name__)


@dataclass(frozen=True, slots=True)
class Component:
    """How one part is doing, in a word and in a sentence.

    refuses: it answers, but takes nothing at present.
    """

    status: Status
    detail: str
    refuses: bool = False

    @property
    def can_store(self) -> bool:
        """Whether it would take what is given to it now."""
        return self.status != "down" and not self.refuses


@dataclass(frozen=True, slots=True)
class Report:
    """How the whole is doing."""

    status: Status
    components: dict[str, Component]


Check = Callable[[], Component]
"""Asks one component how it is. Whatever it raises means that the component is down."""

STORES = ("database", "broker")
"""Where a transfer can be stored: recorded in the one, or else buffered in the other."""


class Health:
    """Runs all checks side by side and sums them up."""

    def __init__(self, checks: Mapping[str, Check], *, bound_s: float = BOUND_S) -> None:
        self._probes = {name: _Probe(name, check) for name, check in checks.items()}
        self._bound_s = bound_s

    def report(self) -> Report:
        """Check everything. Takes at most the bound, and a little."""
        deadline = time.monotonic() + self._bound_s
        runs = {name: probe.start() for name, probe in self._probes.items()}
        components = {
            name: run.result(deadline - time.monotonic()) or self._no_answer()
            for name, run in runs.items()
        }
        return Report(overall(components), components)

    def store(self) -> str | None:
        """Return the first of STORES that can store, or None when none says so within the bound."""
        began = time.monotonic()
        runs = {name: self._probes[name].start() for name in STORES}
        # Half the time for the one, so that there is enough left for the other.
        for name, share in ((STORES[0], 0.5), (STORES[1], 1.0), (STORES[0], 1.0)):
            runs[name].result(began + share * self._bound_s - time.monotonic())
        return next((name for name, run in runs.items() if run.can_store), None)

    def _no_answer(self) -> Component:
        return Component("down", f"no answer within {self._bound_s:g} s")


def overall(components: Mapping[str, Component]) -> Status:
    """Sum up: down when nothing can be stored, degraded when anything else is amiss."""
    if not any(components[name].can_store for name in STORES):
        return "down"
    return "ok" if all(each.status == "ok" for each in components.values()) else "degraded"


class _Run:
    """One check under way, which several reports may wait for."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._component: Component | None = None

    @property
    def finished(self) -> bool:
        return self._done.is_set()

    @property
    def can_store(self) -> bool:
        """Whether there is a result, and a good enough one."""
        return self._component is not None and self._component.can_store

    def finish(self, component: Component) -> None:
        self._component = component
        self._done.set()

    def result(self, timeout_s: float) -> Component | None:
        self._done.wait(max(timeout_s, 0))
        return self._component


class _Probe:
    """Runs a component's check, one at a time: whoever comes meanwhile waits for the same."""

    def __init__(self, name: str, check: Check) -> None:
        self._name = name
        self._check = check
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._is_failing = False

    def start(self) -> _Run:
        """Start a check, or join the one that is under way."""
        with self._lock:
            if self._run is None or self._run.finished:
                self._run = self._started()
            return self._run

    def _started(self) -> _Run:
        run = _Run()
        # A daemon: a check that hangs must not keep the process from ending.
        thread = threading.Thread(
            target=self._work, args=(run,), name=f"health-{self._name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # the machine has no room for one more
            self._note(error)
            run.finish(Component("down", "cannot be asked: this process gets no more threads"))
        return run

    def _work(self, run: _Run) -> None:
        try:
            component = self._check()
        except Exception as error:  # noqa: BLE001 - whatever a check meets, its component is down
            self._note(error)
            component = Component("down", "does not answer")
        else:
            self._note(None)
        run.finish(component)

    def _note(self, error: Exception | None) -> None:
        """Log when failing begins and when it ends: anybody may ask, as often as they like."""
        if (error is not None) == self._is_failing:
            return
        self._is_failing = error is not None
        if error is None:
            events.warning("health_check_well_again", component=self._name)
        else:
            events.warning("health_check_failed", component=self._name, error=type(error).__name__)
