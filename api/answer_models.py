"""The shapes of answers, for the documentation alone: answers are made by `api/answers.py`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ledger.states import State

AmountText = Annotated[
    str,
    Field(
        pattern=r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$",
        description="A decimal with all digits of the asset's scale.",
    ),
]
IdText = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
TimeText = Annotated[
    str,
    Field(
        json_schema_extra={"format": "date-time"},
        description="RFC 3339, in UTC, to the microsecond.",
    ),
]
Component = Literal["ok", "degraded", "down"]


class AnswerModel(BaseModel):
    """A JSON object with exactly these members."""

    model_config = ConfigDict(extra="forbid")


class FieldError(AnswerModel):
    """One thing that is wrong with the body."""

    pointer: Annotated[str, Field(description="A JSON pointer (RFC 6901) into the body.")]
    detail: str


class ProblemDocument(AnswerModel):
    """Why a request failed (RFC 9457)."""

    type: Annotated[str, Field(description="urn:truepenny:problem: and the code.")]
    title: str
    status: int
    code: Annotated[str, Field(description="Stable; what a program should look at.")]
    detail: Annotated[str, Field(description="For people; its wording may change.")]
    request_id: str
    errors: list[FieldError] = Field(default_factory=list)
    transfer_id: Annotated[
        IdText, Field(description="The transfer that failed, if one was recorded.")
    ] = ""


class ClientAnswer(AnswerModel):
    """A new client."""

    id: IdText
    name: str
    scope: Literal["client", "admin"]
    api_key: Annotated[str, Field(description="Shown this once, and stored hashed only.")]


class WalletAnswer(AnswerModel):
    """A wallet as it stands."""

    id: IdText
    owner: Annotated[IdText | None, Field(description="The client it belongs to.")]
    asset: str
    kind: Literal["customer", "house", "external", "transit"]
    name: str | None
    status: Literal["active", "frozen", "closed"]
    balance: AmountText
    reserved: Annotated[AmountText, Field(description="On its way out.")]
    incoming: Annotated[AmountText, Field(description="Credited, and not yet committed.")]
    available: Annotated[AmountText, Field(description="balance - reserved - incoming")]
    metadata: dict[str, Any]
    created_at: TimeText


class WalletList(AnswerModel):
    """A page of wallets, oldest first."""

    data: list[WalletAnswer]
    next_cursor: str | None


class PostingAnswer(AnswerModel):
    """A posting as one wallet sees it."""

    transfer_id: IdText
    leg: Literal["deduct", "credit", "uncredit", "refund"]
    amount: Annotated[AmountText, Field(description="Positive for what came in.")]
    balance_after: AmountText
    counterparty: Annotated[IdText, Field(description="The wallet on the other side.")]
    created_at: TimeText


class PostingList(AnswerModel):
    """A page of postings, newest first."""

    data: list[PostingAnswer]
    next_cursor: str | None


class BalanceAnswer(AnswerModel):
    """A balance as it stood."""

    wallet_id: IdText
    asset: str
    at: TimeText
    balance: AmountText


class FailureAnswer(AnswerModel):
    """Why a transfer did not commit."""

    code: str
    detail: str


ShownState = Annotated[
    State | Literal["buffered"],
    Field(description="buffered: kept until the database is back, and not in it yet."),
]


class TransferAnswer(AnswerModel):
    """A transfer as it stands."""

    id: IdText
    source: IdText
    destination: IdText
    asset: str
    amount: AmountText
    state: ShownState
    capture: Literal["auto", "manual"]
    expires_at: TimeText | None
    reference: str | None
    metadata: dict[str, Any]
    failure: FailureAnswer | None
    refund_of: IdText | None
    refunded: AmountText
    group: IdText | None
    created_at: TimeText
    updated_at: TimeText


class TimelineAnswer(AnswerModel):
    """A moment of a transfer's life. What there is nothing to say about is left out."""

    event: str
    at: TimeText
    worker: str = ""
    attempt: int = 0
    detail: str = ""


class TransferDetail(TransferAnswer):
    """A transfer with its timeline."""

    timeline: list[TimelineAnswer]


class TransferList(AnswerModel):
    """A page of transfers, newest first."""

    data: list[TransferAnswer]
    next_cursor: str | None


class Submitted(AnswerModel):
    """A transfer of a batch that is on its way, or a repeat of one."""

    id: IdText
    state: ShownState


class Failed(AnswerModel):
    """A transfer of a batch that was not recorded, or was refused."""

    error: ProblemDocument


class BatchAnswer(AnswerModel):
    """What became of each transfer, in the order of the request."""

    results: list[Submitted | Failed]


class PriceAnswer(AnswerModel):
    """A price, with where it comes from and how old it is."""

    symbol: str
    price: Annotated[
        str,
        Field(
            pattern=r"^(0|[1-9][0-9]*)(\.[0-9]+)?$",
            description="The middle of bid and ask, a decimal.",
        ),
    ]
    source: Annotated[
        Literal["live", "stale", "static"],
        Field(description="The market's, the last one known, or one from the settings."),
    ]
    as_of: Annotated[TimeText | None, Field(description="Null for a static price.")]
    age_s: Annotated[
        float | None, Field(ge=0, description="Its age in seconds. Null for a static price.")
    ]


class PriceList(AnswerModel):
    """Every price that is followed."""

    data: list[PriceAnswer]
    next_cursor: Annotated[None, Field(description="There is one page.")]


class ComponentAnswer(AnswerModel):
    """How one part is doing."""

    status: Component
    detail: str


class ComponentsAnswer(AnswerModel):
    """The parts."""

    database: ComponentAnswer
    broker: ComponentAnswer
    cache: ComponentAnswer
    prices: ComponentAnswer
    workers: ComponentAnswer


class HealthAnswer(AnswerModel):
    """How the whole is doing; down means that nothing can be stored or buffered."""

    status: Component
    components: ComponentsAnswer


class ReadyAnswer(AnswerModel):
    """Whether this process can take transfers, and why (not)."""

    status: Literal["ok", "down"]
    detail: str


class LiveAnswer(AnswerModel):
    """This process answers."""

    status: Literal["ok"]
