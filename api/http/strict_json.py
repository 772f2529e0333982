"""Strict JSON: refuses what two parsers could read differently or PostgreSQL cannot store.

Guarantees that a parsed body has no duplicate keys (another parser might take the other
amount), no NaN or Infinity, and no strings with NUL or unpaired surrogates, and that parsing
takes a bounded time and memory: an empty object has two bytes here, and 64 in memory. The
standard library's parser is used because it alone shows duplicate keys; it takes 5 µs for a
transfer. Faster parsers silently take the last of two equal keys.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from api.http.problems import Problem
from ledger.postgres.exact_json import Number

MAX_VALUES = 250_000
"""How many commas and opening brackets a body may have: 50 for each item of a full batch."""


def parse_json(body: bytes) -> Any:
    """Parse a body.

    Raises: Problem invalid_request: when it is not UTF-8, not JSON, or not strict.
    """
    if len(body) > MAX_VALUES and sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise _invalid(f"The body has more than {MAX_VALUES} commas and brackets.")
    try:
        document = _decoder.decode(body.decode("utf-8"))
        # UTF-8 and JSON forbid NUL and surrogates as plain text; only an escape can hold them.
        if b"\\u" in body:
            _refuse_unstorable(document)
    except UnicodeDecodeError as error:
        raise _invalid("The body is not valid UTF-8.") from error
    except RecursionError as error:
        raise _invalid("The body is nested too deeply.") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _invalid(f"The body is not valid JSON ({where}).") from error
    except ValueError as error:  # from our own hooks, or a number of thousands of digits
        reason = error.args[0] if isinstance(error, _NotStrict) else "a number is too long"
        raise _invalid(f"The body is not strict JSON: {reason}.") from error
    return document


class _NotStrict(ValueError):
    """Valid JSON by its grammar, but refused here."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotStrict("an object has the same key twice")
    return members


def _number(text: str) -> Number:
    """Keep a number with a fraction or an exponent as it is written."""
    _, _, exponent = text.lower().partition("e")
    if len(exponent.lstrip("+-0")) > 3 or math.isinf(float(text)):
        raise _NotStrict("a number is out of range")
    return Number(text)


def _refuse_constant(_text: str) -> NoReturn:
    raise _NotStrict("NaN and Infinity are not numbers")


def _refuse_unstorable(document: Any) -> None:
    pending = [document]
    while pending:
        match pending.pop():
            case str() as text:
                if "\0" in text:
                    raise _NotStrict("a string contains NUL")
                try:
                    text.encode()
                except UnicodeEncodeError as error:
                    raise _NotStrict("a string contains an unpaired surrogate") from error
            case dict() as members:
                pending.extend(members)
                pending.extend(members.values())
            case list() as elements:
                pending.extend(elements)


def _invalid(detail: str) -> Problem:
    return Problem("invalid_request", detail)


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_number, parse_constant=_refuse_constant
)
