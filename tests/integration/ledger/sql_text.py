"""SQL formatter: puts each clause of a statement on a line and wraps long lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import indent
from typing import Final

from ledger.postgres.schema import unfinished

WIDTH: Final = 88

_IN_LINES: Final = {"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "PARTITION"}
"""Text in parentheses gets its own lines when it begins with one of these."""
_CLAUSES: Final = (
    *("WITH", "SELECT", "INSERT INTO", "UPDATE", "DELETE FROM", "SET", "VALUES", "FROM"),
    *("LEFT OUTER JOIN", "JOIN", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "RETURNING"),
    *("FOR UPDATE", "FOR NO KEY UPDATE", "UNION ALL", "UNION", "ON CONFLICT"),
    *("PARTITION BY", "ROWS BETWEEN"),
)
_BY_LENGTH: Final = sorted((clause.split() for clause in _CLAUSES), key=len, reverse=True)
_PARAMETER: Final = re.compile(r"%\((\w+)\)s")
_COLUMNS: Final = set(unfinished.columns.keys())
_TOKEN: Final = re.compile(r"""(\s*)(WITH\ ORDINALITY|'(?:[^']|'')*'|"[^"]*"|[(),]|[^\s(),'"]+)""")


@dataclass(frozen=True, slots=True)
class _Word:
    """A word, a string, a comma, or a parenthesis with its content."""

    spaced: bool
    text: str = ""
    inner: tuple[_Word, ...] = ()


def with_names(statement: str, parameters: Mapping[str, object]) -> str:
    """Return the statement with `:name` for each parameter, except for constants of a builder.

    SQLAlchemy names these after their column, or numbers them.
    """

    def shown(match: re.Match[str]) -> str:
        value = parameters[match[1]]
        if not (match[1] in _COLUMNS or match[1][-1].isdigit()):
            return f":{match[1]}"
        match value:
            case None:
                return "NULL"
            case str():
                return "'" + value.replace("'", "''") + "'"
            case int():
                return str(value)
        return f":{match[1]}"

    return _PARAMETER.sub(shown, statement).replace("%%", "%")


def in_lines(statement: str) -> str:
    """Return the statement with different white space."""
    words, _ = _grouped(list(_TOKEN.finditer(statement)), 0)
    return _lines(words)


def _grouped(tokens: list[re.Match[str]], start: int) -> tuple[tuple[_Word, ...], int]:
    """Return the words up to the closing parenthesis, and the position after it."""
    words = []
    while start < len(tokens):
        spaced, text = bool(tokens[start][1]), tokens[start][2]
        start += 1
        if text == ")":
            break
        if text == "(":
            inner, start = _grouped(tokens, start)
            words.append(_Word(spaced, inner=inner))
            if not inner:
                words[-1] = _Word(spaced, "()")
        else:
            words.append(_Word(spaced, text))
    return tuple(words), start


def _lines(words: tuple[_Word, ...]) -> str:
    return "\n".join(_clause(opener, rest) for opener, rest in _clauses(words))


def _clauses(words: tuple[_Word, ...]) -> Iterator[tuple[str, list[_Word]]]:
    opener, rest, at = "", list[_Word](), 0
    while at < len(words):
        found = next((each for each in _BY_LENGTH if _starts(words[at:], each)), None)
        if found is None:
            rest.append(words[at])
            at += 1
        else:
            if opener or rest:
                yield opener, rest
            opener, rest, at = " ".join(found), [], at + len(found)
    yield opener, rest


def _starts(words: tuple[_Word, ...], clause: list[str]) -> bool:
    return [word.text for word in words[: len(clause)]] == clause


def _clause(opener: str, words: list[_Word]) -> str:
    parts = _split(words, ",")
    whole = f"{opener} {', '.join(parts)}".strip()
    if opener in ("WHERE", "JOIN", "LEFT OUTER JOIN"):
        conditions = _split(words, "AND")
        if len(conditions) > 1:
            conditions = [each.replace("\n", "\n    ") for each in conditions]
        return f"{opener} " + "\n    AND ".join(conditions)
    if opener == "WITH":
        return "WITH " + ",\n".join(parts)
    if len(parts) > 1 and ("\n" in whole or len(whole) > WIDTH):
        return f"{opener}\n{indent(_filled(parts), '    ')}"
    return whole


def _split(words: list[_Word], separator: str) -> list[str]:
    """Return the text between the separators. The AND of a BETWEEN is not a separator."""
    parts, part, between = [], list[_Word](), False
    for word in words:
        if word.text == separator and not between:
            parts.append(_inline(part))
            part = []
        else:
            between = word.text == "BETWEEN" or (between and word.text != "AND")
            part.append(word)
    return [*parts, _inline(part)]


def _filled(parts: list[str]) -> str:
    """Put as many parts on each line as fit."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}, {part}"
        if "\n" in longer or len(longer) > WIDTH - 8:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] = longer
    return "\n".join(_cases(line) if len(line) > WIDTH else line for line in lines)


def _cases(text: str) -> str:
    return re.sub(r" (?=WHEN |ELSE )", "\n    ", text).replace(" END ", "\nEND ")


def _inline(words: list[_Word]) -> str:
    text = ""
    for word in words:
        space = " " if word.spaced and text else ""
        text += space + (_parentheses(word.inner) if word.inner else word.text)
    return text


def _parentheses(words: tuple[_Word, ...]) -> str:
    if words[0].text in _IN_LINES:
        return f"(\n{indent(_lines(words), '    ')}\n)"
    choices = _split(list(words), "OR")
    if len(choices) > 1 and any("\n" in choice for choice in choices):
        return "(\n" + indent("\nOR ".join(choices), "    ") + "\n)"
    parts = _split(list(words), ",")
    inline = ", ".join(parts)
    if len(parts) > 1 and len(inline) > WIDTH - 16:
        return f"(\n{indent(_filled(parts), '    ')}\n)"
    return f"({inline})"
