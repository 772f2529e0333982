"""Answer of the overview for operators, part by part."""

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
    """How many transfers are in each state. Null while it is unknown."""

    buffered: Annotated[
        Count | None, Field(description="Requests that wait in the broker for the database.")
    ]
    accepted: Count | None
    reserved: Count | None
    deducted: Count | None
    credited: Count | None
    committed: Annotated[
        Count | None, Field(description="Since the beginning, as with the two below.")
    ]
    rejected: Annotated[
        Count | None, Field(description="With the buffered requests that were refused on replay.")
    ]
    rolled_back: Count | None


class OldestAnswer(TypedDict):
    """The transfer that has been under way longest."""

    id: IdText
    state: UnfinishedState
    age_s: Annotated[float, Field(ge=0, description="Seconds since it was accepted.")]


class StandingAnswer(TypedDict):
    """How the transfers stand."""

    states: StatesAnswer
    settled_last_minute: Annotated[
        Count | None, Field(description="How many have ended, in whichever way, within a minute.")
    ]
    oldest_unfinished: Annotated[
        OldestAnswer | None,
        Field(description="Null when none is under way, or while it is unknown."),
    ]


class QueueAnswer(TypedDict):
    """One queue, or the intake buffer, and how much in it nobody has taken yet."""

    name: str
    waiting: Count
    purpose: str


class WorkerAnswer(TypedDict):
    """One process that gave a sign of life within the last hour."""

    name: str
    program: str
    age_s: Annotated[int, Field(ge=0, description="Seconds since its last sign of life.")]
    alive: bool


class BreakerAnswer(TypedDict):
    """One circuit breaker of the process that answers."""

    name: Literal["database"]
    state: BreakerState
    detail: str


class ScanAnswer(TypedDict):
    """The last run of one scan."""

    name: Literal[ShownScan, "reconciliation"]
    at: Annotated[TimeText | None, Field(description="When it ended. Null when none is known.")]
    ok: bool
    result: Annotated[str, Field(description="What it did, or why it could not, in a sentence.")]


class OverviewAnswer(TypedDict):
    """How everything stands, as far as it can be known within about a second."""

    at: TimeText
    status: HealthStatus
    components: ComponentsAnswer
    transfers: StandingAnswer
    queues: Annotated[list[QueueAnswer] | None, Field(description=_UNKNOWN)]
    workers: Annotated[list[WorkerAnswer] | None, Field(description=_UNKNOWN)]
    breakers: list[BreakerAnswer]
    prices: Annotated[list[PriceAnswer] | None, Field(description=_UNKNOWN)]
    scans: Annotated[list[ScanAnswer] | None, Field(description=_UNKNOWN)]
    flower_url: Annotated[str | None, Field(description="Where Flower is, if it is known.")]
    unknown: Annotated[
        dict[UnknownPart, str],
        Field(
            description="Why something is null, by its name: `transfers` for all its numbers but "
            "`buffered`, which has an entry of its own."
        ),
    ]
