"""Answers about the health of the whole, of its parts, and of this process."""

from __future__ import annotations

from typing import Literal, cast

from typing_extensions import TypedDict

from monitoring.health.impact import explain
from monitoring.health.report import HealthStatus, Report


class ComponentAnswer(TypedDict):
    """How one part is doing."""

    status: HealthStatus
    detail: str


class ComponentsAnswer(TypedDict):
    """The parts."""

    database: ComponentAnswer
    broker: ComponentAnswer
    cache: ComponentAnswer
    prices: ComponentAnswer
    workers: ComponentAnswer


def components_answer(report: Report) -> ComponentsAnswer:
    """Describe the parts, each that is down with what that means."""
    described: dict[str, ComponentAnswer] = {
        name: {"status": each.status, "detail": each.detail}
        for name, each in explain(report.components).items()
    }
    # The checks of a process name its parts; that they are these is shown by real answers.
    return cast(ComponentsAnswer, described)


class HealthAnswer(TypedDict):
    """How the whole is doing; down means that nothing can be stored or buffered."""

    status: HealthStatus
    components: ComponentsAnswer


def health_answer(report: Report) -> HealthAnswer:
    """Describe how the whole is doing."""
    return {"status": report.status, "components": components_answer(report)}


class ReadyAnswer(TypedDict):
    """Whether this process can take transfers, and why (not)."""

    status: Literal["ok", "down"]
    detail: str


class LiveAnswer(TypedDict):
    """This process answers."""

    status: Literal["ok"]
