"""Health report: runs all checks side by side and sums them up within one second.

Guarantees a limit in time and in cost: each component is checked in its own thread, and at most
one check of it runs at a time, so that many requests during an outage do not pile up. Details
are our own sentences: the text of an error may contain an address or a password.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from monitoring.health.redis_info import SHARED_BROKER, SHARED_CACHE
from monitoring.logs import get_logger
from resilience.outage_log import OutageLog
from resilience.single_flight import Flight, NoThread, SingleFlight

HealthStatus = Literal["ok", "degraded", "down"]

BOUND_S = 0.9

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Component:
    """The state of one component: a status and a sentence.

    refuses: it answers, but accepts nothing at present.
    server_id: which Redis it is, if that is known.
    """

    status: HealthStatus
    detail: str
    refuses: bool = False
    server_id: str | None = None

    @property
    def can_store(self) -> bool:
        """Whether it would store a transfer now."""
        return self.status != "down" and not self.refuses


@dataclass(frozen=True, slots=True)
class Report:
    """The state of all components together."""

    status: HealthStatus
    components: dict[str, Component]


Check = Callable[[], Component]
"""Checks one component. Any exception means that the component is down."""

STORES = ("database", "broker")
"""Where a transfer can be stored: recorded in the first, or else buffered in the second."""
NOT_NEEDED = ("prices",)
"""Components that nothing depends on yet: without them, the whole is as well as before."""

READ_FROM_SERVERS = ("workers", "books")
"""Components that are no servers: while those they are read from are silent, they are unknown."""


class Health:
    """Runs all checks side by side and sums them up."""

    def __init__(self, checks: Mapping[str, Check], *, bound_s: float = BOUND_S) -> None:
        self._checks = {
            name: SingleFlight(f"health-{name}", _never_raising(name, check), log=log)
            for name, check in checks.items()
        }
        self._bound_s = bound_s

    def report(self) -> Report:
        """Check everything. Takes hardly longer than the bound."""
        deadline = time.monotonic() + self._bound_s
        flights = {name: check.join() for name, check in self._checks.items()}
        components = {
            name: self._component(name, flight, deadline - time.monotonic())
            for name, flight in flights.items()
        }
        components = with_shared_server(components)
        return Report(overall(components), components)

    def _component(self, name: str, flight: Flight[Component], timeout_s: float) -> Component:
        try:
            return flight.result(timeout_s)
        except TimeoutError:
            why = f"no answer within {self._bound_s:g} s"
        except NoThread:
            why = "not checked: this process cannot start a thread"
        if name in READ_FROM_SERVERS:
            return Component("degraded", f"unknown: {why}")
        return Component("down", why)


def with_shared_server(components: Mapping[str, Component]) -> dict[str, Component]:
    """Return the components; if one Redis is both broker and cache, both are degraded by that.

    What is wrong with it as a cache is left out: a broker must not be set up like a cache.
    """
    broker, cache = components.get("broker"), components.get("cache")
    if broker is None or cache is None or broker.server_id is None:
        return dict(components)
    if broker.server_id != cache.server_id:
        return dict(components)
    details = [broker.detail] if broker.status == "degraded" else []
    detail = "; ".join([*details, SHARED_BROKER])
    return {
        **components,
        "broker": replace(broker, status="degraded", detail=detail),
        "cache": replace(cache, status="degraded", detail=SHARED_CACHE),
    }


def overall(components: Mapping[str, Component]) -> HealthStatus:
    """Sum up: down if nothing can be stored, degraded if anything else that is needed is wrong."""
    if not any(components[name].can_store for name in STORES):
        return "down"
    needed = [each for name, each in components.items() if name not in NOT_NEEDED]
    return "ok" if all(each.status == "ok" for each in needed) else "degraded"


def _never_raising(name: str, check: Check) -> Check:
    """Return the check with "down" in place of an exception; outages of it are logged."""
    outage = OutageLog(log, "health_check_failed", "health_check_well_again", component=name)

    def checked() -> Component:
        try:
            component = check()
        except Exception as error:  # noqa: BLE001 - any error means that it is down
            outage.failed(error=type(error).__name__)
            return Component("down", "does not answer")
        outage.recovered()
        return component

    return checked
