"""Problem documents (RFC 9457): the shape of every answer that is an error."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.schemas.codes import ErrorCode
from api.schemas.fields import IdText


class FieldError(TypedDict):
    """One error in the body."""

    pointer: Annotated[str, Field(description="A JSON pointer (RFC 6901) into the body.")]
    detail: str


class ProblemDocument(TypedDict):
    """Why a request failed (RFC 9457)."""

    type: Annotated[str, Field(description="urn:truepenny:problem: followed by the code.")]
    title: str
    status: int
    code: ErrorCode
    detail: Annotated[str, Field(description="For people. Its wording may change.")]
    request_id: str
    errors: NotRequired[list[FieldError]]
    transfer_id: NotRequired[
        Annotated[IdText, Field(description="The transfer that failed, if one was recorded.")]
    ]
