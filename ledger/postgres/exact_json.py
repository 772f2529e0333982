"""Exact JSON: reads and writes documents whose decimal numbers keep their digits.

Guarantees that 1.10 stays 1.10, and that no float stands in between. PostgreSQL's jsonb keeps
digits too; it only writes an exponent out and drops the sign of zero, so 1e2 comes back as 100.
"""

from __future__ import annotations

import json
from typing import Any


class Number:
    """A number with a fraction or an exponent, as it was written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        """Make the number of its JSON text."""
        self.text = text

    def __float__(self) -> float:
        return float(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Number) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Number({self.text!r})"


def loads(text: str | bytes) -> Any:
    """Read a document. Raises: ValueError: when it is not JSON. RecursionError: too deep."""
    return _decoder.decode(text if isinstance(text, str) else text.decode())


def dumps(document: Any) -> str:
    """Write a document in as few characters as possible."""
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    except TypeError:  # it has a Number, which the library cannot write
        return _write(document)


def for_digest(content: Any) -> bytes:
    """Return what a digest of the content is made of. It is stored, so it must never change.

    1.10 and 1.1 are the same here, as they were when such numbers became floats.
    """
    return json.dumps(content, sort_keys=True, default=float).encode()


def _write(document: Any) -> str:
    match document:
        case Number():
            return document.text
        case dict():
            members = (f"{dumps(key)}:{_write(value)}" for key, value in document.items())
            return "{" + ",".join(members) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_write, document)) + "]"
    return json.dumps(document, ensure_ascii=False)


_decoder = json.JSONDecoder(parse_float=Number)
