"""Decoding: makes a frozen answer of a JSON document, by the types of its fields.

Guarantees that a newer server does no harm: fields that are not known here are kept in `extra`,
and states, kinds and codes are plain strings, so that new values pass.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

A = TypeVar("A", bound="Answer")
Reader = Callable[[Any], Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An object of the server, as it was when it was read."""

    extra: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Fields that this version does not know, as JSON."""


def decode(kind: type[A], document: Any) -> A:
    """Return the answer in a document. Raises: ValueError: when the document is no such thing."""
    if not isinstance(document, dict):
        raise ValueError(f"{kind.__name__} is expected")  # noqa: TRY004 - it is the text's value
    known: dict[str, Any] = {}
    for name, (read, is_required) in _readers_of(kind).items():
        if name in document:
            try:
                known[name] = read(document[name])
            except (ValueError, TypeError, InvalidOperation) as error:
                raise ValueError(f"{kind.__name__}.{name} cannot be read: {error}") from error
        elif is_required:
            raise ValueError(f"{kind.__name__}.{name} is missing")
    extra = {name: value for name, value in document.items() if name not in known}
    return kind(**known, extra=extra)


def decoder(kind: type[A]) -> Callable[[Any], A]:
    """Return `decode` for one kind of answer."""
    return partial(decode, kind)


_known: dict[type[Answer], Mapping[str, tuple[Reader, bool]]] = {}


def _readers_of(kind: type[Answer]) -> Mapping[str, tuple[Reader, bool]]:
    """Return how each field is read, and whether an answer must have it. Kept for each kind."""
    if kind in _known:
        return _known[kind]
    hints = get_type_hints(kind)
    _known[kind] = {
        each.name: (
            _reader(hints[each.name]),
            each.default is MISSING and each.default_factory is MISSING,
        )
        for each in fields(kind)
        if each.name != "extra"
    }
    return _known[kind]


def _reader(hint: Any) -> Reader:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        [inner] = [each for each in arguments if each is not type(None)]
        return partial(_optional, _reader(inner))
    if origin is tuple:
        return partial(_several, _reader(arguments[0]))
    if isinstance(hint, type) and issubclass(hint, Answer):
        return decoder(hint)
    if origin is not None:
        return _object
    return _PLAIN[hint]


def _optional(read: Reader, value: Any) -> Any:
    return None if value is None else read(value)


def _several(read: Reader, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError("a list is expected")  # noqa: TRY004
    return tuple(map(read, value))


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object is expected")  # noqa: TRY004
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is expected")  # noqa: TRY004
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number is expected")  # noqa: TRY004
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError("a number is expected")  # noqa: TRY004
    return float(value)


def _amount(value: Any) -> Decimal:
    return Decimal(_text(value))


def _time(value: Any) -> datetime:
    at = datetime.fromisoformat(_text(value).replace("Z", "+00:00"))
    if at.tzinfo is None:
        raise ValueError("a time with its time zone is expected")
    return at


def _day(value: Any) -> date:
    return date.fromisoformat(_text(value))


_PLAIN: Mapping[Any, Reader] = {
    str: _text,
    int: _whole,
    float: _number,
    Decimal: _amount,
    datetime: _time,
    date: _day,
}
