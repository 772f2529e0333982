"""Answers of /health: the overall status, each component, and this process."""

from __future__ import annotations

from typing import Literal, cast

from typing_extensions import TypedDict

from monitoring.health.impact import explain
from monitoring.health.report import HealthStatus, Report


class ComponentAnswer(TypedDict):
    """The status of one component."""

    status: HealthStatus
    detail: str


class ComponentsAnswer(TypedDict):
    """The components."""

    database: ComponentAnswer
    broker: ComponentAnswer
    cache: ComponentAnswer
    prices: ComponentAnswer
    workers: ComponentAnswer
    books: ComponentAnswer


def components_answer(report: Report) -> ComponentsAnswer:
    """Describe the components. The detail of one that is down says what that means."""
    described: dict[str, ComponentAnswer] = {
        name: {"status": each.status, "detail": each.detail}
        for name, each in explain(report.components).items()
    }
    # The process's checks choose these names; tests compare real answers with the schema.
    return cast(ComponentsAnswer, described)


class HealthAnswer(TypedDict):
    """The overall status; down means that no transfer can be stored or buffered."""

    status: HealthStatus
    components: ComponentsAnswer


def health_answer(report: Report) -> HealthAnswer:
    """Describe the overall status and each component."""
    return {"status": report.status, "components": components_answer(report)}


class ReadyAnswer(TypedDict):
    """Whether requests should be sent to this process, and why or why not."""

    status: Literal["ok", "down"]
    detail: str


class LiveAnswer(TypedDict):
    """This process answers."""

    status: Literal["ok"]
