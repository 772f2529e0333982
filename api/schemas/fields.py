"""Field types of requests and answers, with their rules and schemas.

Guarantees that a value which passes can be given to the ledger and to PostgreSQL. An error is
a phrase that follows the field's name, such as "must be a string".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from ledger.postgres import exact_json
from ledger.postgres.exact_json import Number

MAX_KEY_LENGTH = 255
KEY_RULE = f"must have 1 to {MAX_KEY_LENGTH} printable characters, and no space at either end"
MAX_REFERENCE_LENGTH = 255
MAX_METADATA_DEPTH = 10
MAX_METADATA_BYTES = 8 * 1024
_MAX_PLACES = 100
MAX_LIMIT = 200
DEFAULT_LIMIT = 50

MAX_SCALE = 18
ASSET_CODE = re.compile(r"[A-Z0-9]{2,12}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE
)
_RATE_LIMIT = re.compile(r"none|[1-9][0-9]{0,8}/(?:second|minute|hour|day)", re.ASCII)


def parse_id(value: object) -> UUID:
    """Read an id in its canonical form only: hyphens, no braces, no urn."""
    if not (isinstance(value, str) and _UUID.fullmatch(value)):
        raise PydanticCustomError("id", "must be a UUID in its canonical form")
    return UUID(value)


def parse_time(value: object) -> datetime:
    """Read an RFC 3339 time; it must say its offset from UTC."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # it has the form of a time, but is none: the 30th of February, the year 0
    raise PydanticCustomError(
        "time", 'must be an RFC 3339 time such as "2026-01-31T12:00:00Z" (in a query, + is %2B)'
    )


def parse_limit(value: object) -> int:
    """Read the size of a page."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 3:
        limit = int(value)
        if 1 <= limit <= MAX_LIMIT:
            return limit
    raise PydanticCustomError("limit", f"must be a whole number from 1 to {MAX_LIMIT}")


def check_asset_code(value: object) -> str:
    """Accept the code of a new asset."""
    if not (isinstance(value, str) and ASSET_CODE.fullmatch(value)):
        raise PydanticCustomError("code", "must have 2 to 12 characters, capitals and digits only")
    return value


def check_scale(value: object) -> int:
    """Accept a number of decimals; true and 2.0 are none."""
    if not (type(value) is int and 0 <= value <= MAX_SCALE):
        raise PydanticCustomError("scale", f"must be a whole number from 0 to {MAX_SCALE}")
    return value


def check_amount_is_text(value: object) -> str:
    """Refuse JSON numbers: many programs make them from a float, which is not exact."""
    if not isinstance(value, str):
        raise PydanticCustomError("amount", 'must be a JSON string such as "12.50"')
    return value


def check_rate_limit(value: object) -> str:
    """Accept N/second, N/minute, N/hour, N/day or none."""
    if not (isinstance(value, str) and _RATE_LIMIT.fullmatch(value)):
        raise PydanticCustomError("rate_limit", 'must be such as "1000/minute", or "none"')
    return value


def is_usable_key(key: str) -> bool:
    """Tell whether a text can be an idempotency key: 1 to 255 printable characters.

    HTTP drops spaces around a header's value. A key with one in a body would be another key
    than the same text in a header, and pay again.
    """
    return 1 <= len(key) <= MAX_KEY_LENGTH and key.isprintable() and key == key.strip()


def check_key(value: object) -> str:
    """Accept an idempotency key in a body."""
    if not (isinstance(value, str) and is_usable_key(value)):
        raise PydanticCustomError("key", KEY_RULE)
    return value


def check_external_id(value: object) -> str:
    """Accept an id of the client's own, by the rule of idempotency keys."""
    if not (isinstance(value, str) and is_usable_key(value)):
        raise PydanticCustomError("external_id", KEY_RULE)
    return value


def check_metadata(value: object) -> dict[str, Any]:
    """Accept a JSON object that is neither deep nor large."""
    if not isinstance(value, dict):
        raise PydanticCustomError("metadata", "must be an object")
    if _is_deeper_than(value, MAX_METADATA_DEPTH):
        raise PydanticCustomError("metadata", f"is nested deeper than {MAX_METADATA_DEPTH} levels")
    if _has_extreme_number(value):
        # The database stores such numbers digit by digit: 1e300 would need 301 digits.
        raise PydanticCustomError("metadata", "has a number that is extremely large or small")
    if len(exact_json.dumps(value).encode()) > MAX_METADATA_BYTES:
        raise PydanticCustomError("metadata", f"has more than {MAX_METADATA_BYTES} bytes")
    return value


def _is_deeper_than(value: Any, levels: int) -> bool:
    containers = [value]
    for _ in range(levels):
        containers = [
            child
            for container in containers
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
        if not containers:
            return False
    return True


def _has_extreme_number(value: Any) -> bool:
    match value:
        case Number():
            number = Decimal(value.text)
            size = number.copy_abs()
            is_sized = not size or Decimal("1e-15") <= size < Decimal("1e16")
            return not is_sized or int(number.as_tuple().exponent) < -_MAX_PLACES
        case dict():
            return any(map(_has_extreme_number, value.values()))
        case list():
            return any(map(_has_extreme_number, value))
    return False


def text_schema(description: str, **schema: Any) -> WithJsonSchema:
    """Describe a string that a function of ours checks."""
    return WithJsonSchema({"type": "string", "description": description, **schema})


def number_schema(description: str, **schema: Any) -> WithJsonSchema:
    """Describe a whole number that a function of ours checks."""
    return WithJsonSchema({"type": "integer", "description": description, **schema})


Id = Annotated[UUID, PlainValidator(parse_id), text_schema("An id.", format="uuid")]
Time = Annotated[
    datetime,
    PlainValidator(parse_time),
    text_schema("An RFC 3339 time with its offset.", format="date-time"),
]
Amount = Annotated[
    str,
    PlainValidator(check_amount_is_text),
    text_schema(
        "A plain decimal above zero with at most as many decimals as the asset has.",
        pattern=r"^(0|[1-9][0-9]*)(\.[0-9]+)?$",
        maxLength=64,
    ),
]
AssetCode = Annotated[str, Field(max_length=12, description="The code of an asset.")]
NewAssetCode = Annotated[
    str,
    PlainValidator(check_asset_code),
    text_schema("The code of an asset.", pattern="^[A-Z0-9]{2,12}$"),
]
Scale = Annotated[
    int,
    PlainValidator(check_scale),
    number_schema(
        "The number of decimals: 2 for cents. It can never be changed.",
        minimum=0,
        maximum=MAX_SCALE,
    ),
]
RateLimitText = Annotated[
    str,
    PlainValidator(check_rate_limit),
    text_schema(
        'How many requests per unit of time, or "none" for no limit.',
        pattern=r"^(none|[1-9][0-9]{0,8}/(second|minute|hour|day))$",
    ),
]
Metadata = Annotated[
    dict[str, Any],
    PlainValidator(check_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "description": f"Any data of yours, at most {MAX_METADATA_DEPTH} levels deep "
            f"and {MAX_METADATA_BYTES} bytes as compact JSON. Numbers keep their digits.",
        }
    ),
]
IdempotencyKey = Annotated[
    str,
    PlainValidator(check_key),
    text_schema(
        "Your name for the transfer. A repeat with the same key moves nothing twice. Printable "
        "characters, without a space at either end. Every character counts.",
        minLength=1,
        maxLength=MAX_KEY_LENGTH,
        pattern="^[^ ](.*[^ ])?$",
    ),
]
ExternalId = Annotated[
    str,
    PlainValidator(check_external_id),
    text_schema(
        "Your own id of the wallet, such as the number of an account. One owner has at most one "
        "wallet with it. It cannot be changed later. Printable characters, without a space at "
        "either end.",
        minLength=1,
        maxLength=MAX_KEY_LENGTH,
        pattern="^[^ ](.*[^ ])?$",
    ),
]
Reference = Annotated[
    str,
    Field(max_length=MAX_REFERENCE_LENGTH, description="Any text of yours, such as an order id."),
]
Name = Annotated[str, Field(min_length=1, max_length=255, description="A name for display.")]
Limit = Annotated[
    int,
    PlainValidator(parse_limit),
    WithJsonSchema(
        {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_LIMIT,
            "default": DEFAULT_LIMIT,
            "description": "The largest number of objects to return.",
        }
    ),
]
Cursor = Annotated[str, Field(max_length=200)]

# Fields of answers.
AmountText = Annotated[
    str,
    Field(
        pattern=r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$",
        description="A decimal with all decimal places of the asset.",
    ),
]
IdText = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
TimeText = Annotated[
    str,
    Field(
        json_schema_extra={"format": "date-time"},
        description="An RFC 3339 time in UTC, with microseconds.",
    ),
]


def id_text(id: UUID | None) -> IdText | None:
    """Print an id, if there is one."""
    return None if id is None else str(id)


def time_text(at: datetime) -> TimeText:
    """Print a time as RFC 3339 in UTC, with microseconds: 2026-01-31T12:00:00.000000Z."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
