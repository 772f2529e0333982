"""Codes: the enumerations of the OpenAPI document are what the code can produce, and documented."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any, get_args

from api.http.problems import TABLE
from api.openapi.document import build_document
from api.schemas.codes import ERROR_CODES, EVENTS, FAILURE_CODES
from ledger import errors
from ledger.errors import IdempotencyKeyReused, LedgerError, Rejection
from ledger.states import State
from testing.programs import ROOT
from tests.unit.api.test_api_problems import every_error

PAGE = (ROOT / "docs" / "CODES.md").read_text()
SCHEMAS = build_document()["components"]["schemas"]
_NAME = re.compile(r"[a-z_]+")


def ledger_modules() -> Iterator[ast.Module]:
    for path in (ROOT / "ledger").rglob("*.py"):
        yield ast.parse(path.read_text())


def calls(module: ast.Module, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            if name in names:
                yield node


def constants(call: ast.Call) -> set[str]:
    """Return the texts among its arguments that may be a code."""
    texts = {each.value for each in call.args if isinstance(each, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and _NAME.fullmatch(text)}


def emitted_events() -> set[str]:
    """Return the events that the ledger writes, and the states that it shows as events."""
    found = {"buffered", *get_args(State)}
    for module in ledger_modules():
        notes = [*calls(module, "note", "_note", "TimelineEntry")]
        # An INSERT into the table of events has the event as a literal.
        if "from_select" in ast.dump(module) and "attr='events'" in ast.dump(module):
            notes += calls(module, "literal")
        for call in notes:
            found |= constants(call)
    return found


def recorded_failures() -> set[str]:
    """Return the codes of rejections, and of what a buffered request may turn out to be."""
    raised = {
        node.id
        for name in ("acceptance.py", "rejections.py")
        for node in ast.walk(ast.parse((ROOT / "ledger" / name).read_text()))
        if isinstance(node, ast.Name)
    }
    invalid = {
        kind.code
        for kind in every_error(errors.Invalid)
        if kind.__name__ in raised and kind is not IdempotencyKeyReused  # an event instead
    }
    return invalid | {kind.code for kind in every_error(Rejection)}


def leaves(schema: str, field: str) -> list[str]:
    found: list[str] = SCHEMAS[schema]["properties"][field]["enum"]
    return found


def table(heading: str, rows: str) -> list[Any]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rows, section, re.MULTILINE)


def test_the_document_lists_them() -> None:
    assert leaves("ProblemDocument", "code") == list(ERROR_CODES)
    assert leaves("FailureAnswer", "code") == list(FAILURE_CODES)
    assert leaves("TimelineAnswer", "event") == list(EVENTS)
    for schema, field in (("ProblemDocument", "code"), ("TimelineAnswer", "event")):
        assert "later version may have more" in SCHEMAS[schema]["properties"][field]["description"]


def test_every_error_has_a_listed_code() -> None:
    assert list(ERROR_CODES) == list(dict.fromkeys(ERROR_CODES))
    assert set(ERROR_CODES) == set(TABLE)
    assert {kind.code for kind in every_error(LedgerError)} <= set(ERROR_CODES)


def test_every_recorded_failure_has_a_listed_code() -> None:
    assert set(FAILURE_CODES) == recorded_failures()
    assert set(FAILURE_CODES) <= set(ERROR_CODES)  # a failed transfer is answered as a problem


def test_every_event_is_listed_and_has_a_label_on_the_page() -> None:
    assert set(EVENTS) == emitted_events()
    labels = (ROOT / "web" / "shared" / "format" / "labels.js").read_text()
    shown = labels.split("const EVENTS = {")[1].split("};")[0]
    assert set(re.findall(r"^  (\w+):", shown, re.MULTILINE)) == set(EVENTS)


def test_the_page_explains_each_once() -> None:
    errors_listed = table("Errors", r"^\| `(\w+)` \| (\d{3}) \| ")
    assert [(code, str(TABLE[code][0])) for code in ERROR_CODES] == errors_listed
    assert table("Failures", r"^\| `(\w+)` \| ") == list(FAILURE_CODES)
    assert table("Timeline events", r"^\| `(\w+)` \| ") == list(EVENTS)
