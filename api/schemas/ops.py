"""Answer of the overview for operators."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.fields import IdText, TimeText
from api.schemas.health import ComponentsAnswer
from api.schemas.prices import PriceAnswer
from ledger.states import UnfinishedState
from monitoring.health.report import HealthStatus
from monitoring.job_runs import ShownScan

Count = Annotated[int, Field(ge=0)]
BreakerState = Literal["closed", "open", "half-open"]
UnknownPart = Literal["transfers", "buffered", "queues", "workers", "prices", "scans"]
_UNKNOWN = "Null while it is unknown; `unknown` says why."


class StatesAnswer(TypedDict):
    """How many transfers are in each state. Null while unknown."""

    buffered: Annotated[
        Count | None, Field(description="Requests that wait on the broker for the database.")
    ]
    accepted: Count | None
    reserved: Count | None
    deducted: Count | None
    credited: Count | None
    committed: Annotated[Count | None, Field(description="All that were ever committed.")]
    rejected: Annotated[
        Count | None,
        Field(
            description="All that were ever rejected, with the buffered requests that were "
            "refused on replay."
        ),
    ]
    rolled_back: Annotated[Count | None, Field(description="All that were ever rolled back.")]


class OldestAnswer(TypedDict):
    """The transfer that has been under way longest."""

    id: IdText
    state: UnfinishedState
    age_s: Annotated[float, Field(ge=0, description="Seconds since it was accepted.")]


class StandingAnswer(TypedDict):
    """Counts of transfers."""

    states: StatesAnswer
    settled_last_minute: Annotated[
        Count | None, Field(description="How many ended in the last minute, in any final state.")
    ]
    oldest_unfinished: Annotated[
        OldestAnswer | None,
        Field(description="Null when no transfer is under way, or while it is unknown."),
    ]


class QueueAnswer(TypedDict):
    """One queue, or the intake buffer, and how many messages wait in it."""

    name: str
    waiting: Count
    purpose: str


class WorkerAnswer(TypedDict):
    """One process whose heartbeat was seen within the last hour."""

    name: str
    program: str
    age_s: Annotated[int, Field(ge=0, description="Seconds since its last heartbeat.")]
    alive: bool


class BreakerAnswer(TypedDict):
    """One circuit breaker of the process that sent this answer."""

    name: Literal["database"]
    state: BreakerState
    detail: str


class ScanAnswer(TypedDict):
    """The last run of one scan."""

    name: Literal[ShownScan, "reconciliation"]
    at: Annotated[TimeText | None, Field(description="When it ended. Null when unknown.")]
    ok: bool
    result: Annotated[str, Field(description="What it did, or why it failed.")]


class OverviewAnswer(TypedDict):
    """The state of all components, as far as it can be read within about a second."""

    at: TimeText
    status: HealthStatus
    components: ComponentsAnswer
    transfers: StandingAnswer
    queues: Annotated[list[QueueAnswer] | None, Field(description=_UNKNOWN)]
    workers: Annotated[list[WorkerAnswer] | None, Field(description=_UNKNOWN)]
    breakers: list[BreakerAnswer]
    prices: Annotated[list[PriceAnswer] | None, Field(description=_UNKNOWN)]
    scans: Annotated[list[ScanAnswer] | None, Field(description=_UNKNOWN)]
    warnings: Annotated[
        list[str],
        Field(description="What works, but should be changed: sentences. Empty if nothing."),
    ]
    flower_url: Annotated[str | None, Field(description="The address of Flower, if configured.")]
    unknown: Annotated[
        dict[UnknownPart, str],
        Field(
            description="Why a part is null, by its name. `transfers` stands for all its numbers "
            "except `buffered`, which has its own entry."
        ),
    ]
