"""The list of log events in docs/LOG_EVENTS.md, compared with the code in both directions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from testing.servers.shared import ROOT

LISTED = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "LOG_EVENTS.md").read_text(), re.MULTILINE)
LOGGERS = {"log", "events", "_log", "_events"}
LEVELS = {"debug", "info", "warning", "error"}
NOT_THE_PRODUCT = {"tests", "testing", "bench", "migrations"}


def trees() -> Iterator[ast.Module]:
    for top in ROOT.iterdir():
        if top.name.startswith(".") or top.name in NOT_THE_PRODUCT:
            continue
        for file in top.rglob("*.py") if top.is_dir() else [top]:
            if file.suffix == ".py":
                yield ast.parse(file.read_text(), str(file))


def strings(node: ast.AST) -> set[str]:
    """Return the string constants in an expression: both, where it chooses between two."""
    found = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {value for value in found if isinstance(value, str)}


def logged(call: ast.Call) -> set[str]:
    """Return the event names of a call such as `log.warning("name", …)`."""
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr in LEVELS and call.args):
        return set()
    logger = function.value
    name = logger.id if isinstance(logger, ast.Name) else getattr(logger, "attr", "")
    return strings(call.args[0]) if name in LOGGERS else set()


def test_every_event_that_is_logged_is_in_the_list() -> None:
    calls = (node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Call))
    events = {event for call in calls for event in logged(call)}
    assert "redriven" in events
    assert events - set(LISTED) == set()


def test_every_event_in_the_list_is_in_the_code_and_listed_once() -> None:
    # Some names reach the logger through a variable, so any literal counts here.
    known = {text for tree in trees() for text in strings(tree)}
    assert set(LISTED) - known == set()
    assert len(LISTED) == len(set(LISTED))


def test_the_links_of_the_list_lead_somewhere() -> None:
    text = (ROOT / "docs" / "LOG_EVENTS.md").read_text()
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs" / "OPERATE.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\(OPERATE\.md#([\w-]+)\)", text)) - anchors == set()
