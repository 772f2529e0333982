"""JSON whose decimal numbers keep their digits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def loads(text: bytes) -> Any:
    """Read JSON. Numbers with a point or an exponent become Decimals.

    Raises: ValueError: when it is no JSON.
    """
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def dumps(value: Any) -> bytes:
    """Write JSON. Raises: TypeError, ValueError: for what JSON cannot hold, such as NaN."""
    try:
        return _compact.encode(value).encode()
    except TypeError:
        return _written(value).encode()  # slower, but knows Decimals


_compact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _written(value: Any) -> str:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is no JSON number")
        return str(value)
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("the names in a JSON object are strings")
        return "{" + ",".join(f"{_written(k)}:{_written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_written, value)) + "]"
    return _compact.encode(value)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
