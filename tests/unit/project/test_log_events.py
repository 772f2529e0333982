"""The list of log events in docs/LOG_EVENTS.md, compared with the code in both directions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from testing.servers.shared import ROOT

LISTED = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "LOG_EVENTS.md").read_text(), re.MULTILINE)
LOGGERS = {"log", "events", "_log", "_events"}
LEVELS = {"debug", "info", "warning", "error"}
NOT_THE_PRODUCT = {"tests", "testing", "bench", "migrations"}


@cache
def trees() -> list[ast.Module]:
    return [ast.parse(file.read_text(), str(file)) for file in product_files()]


def product_files() -> Iterator[Path]:
    for top in ROOT.iterdir():
        if top.name.startswith(".") or top.name in NOT_THE_PRODUCT:
            continue
        for file in top.rglob("*.py") if top.is_dir() else [top]:
            if file.suffix == ".py":
                yield file


def strings(node: ast.AST) -> set[str]:
    """Return the string constants in an expression: both, where it chooses between two."""
    found = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {value for value in found if isinstance(value, str)}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function or class that takes the name of an event."""

    function: str
    name: str
    position: int
    """Among the arguments of a call, without `self`; -1 for one that is given by name alone."""


OUTAGE_LOG = {Parameter("OutageLog", "failed", 1), Parameter("OutageLog", "recovered", 2)}


def called(call: ast.Call) -> str:
    """The last part of the name of what is called; "log" for every method of a logger."""
    function = call.func
    if not isinstance(function, ast.Attribute):
        return function.id if isinstance(function, ast.Name) else ""
    owner = function.value
    name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
    return "log" if function.attr in LEVELS and name in LOGGERS else function.attr


def event_arguments(tree: ast.AST, parameters: set[Parameter]) -> Iterator[ast.expr]:
    """The arguments for these parameters, and the event of each `log.warning(event, …)`."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = called(call)
        if name == "log":
            yield from call.args[:1]
        for taken in (each for each in parameters if each.function == name):
            if 0 <= taken.position < len(call.args):
                yield call.args[taken.position]
            yield from (given.value for given in call.keywords if given.arg == taken.name)


def passing_on(tree: ast.AST, name: str = "") -> Iterator[tuple[Parameter, ast.expr | None]]:
    """The parameters whose value is passed on as an event's name, and their defaults."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.ClassDef):
            yield from passing_on(child, child.name)
        if not isinstance(child, ast.FunctionDef):
            continue
        passed = {
            argument.id
            for argument in event_arguments(child, OUTAGE_LOG)
            if isinstance(argument, ast.Name)
        }
        function = name if child.name == "__init__" else child.name
        positional, named = child.args.args, child.args.kwonlyargs
        for position, argument in enumerate(positional):
            if argument.arg in passed:
                yield Parameter(function, argument.arg, position - bool(name)), None
        for argument, default in zip(named, child.args.kw_defaults, strict=True):
            if argument.arg in passed:
                yield Parameter(function, argument.arg, -1), default


def logged() -> set[str]:
    """The event names that the product gives to a logger, an outage log or what passes them on."""
    everywhere, events = set(OUTAGE_LOG), set()
    for tree in trees():
        for parameter, default in passing_on(tree):
            events |= strings(default) if default else set()
            everywhere |= {parameter} if parameter.function[:1].isupper() else set()
    for tree in trees():
        here = everywhere | {parameter for parameter, _ in passing_on(tree)}
        for argument in event_arguments(tree, here):
            events |= strings(argument)
    return events


def test_every_event_that_is_logged_is_in_the_list() -> None:
    events = logged()
    assert "redriven" in events
    assert {"database_away", "database_back", "thread_started"} <= events, "of an outage log"
    assert {"thread_not_started", "pressure_not_watched"} <= events, "of a background thread"
    assert {"cache_not_read", "trouble_over"} <= events, "through a function of its module"
    assert events - set(LISTED) == set()


def test_every_event_in_the_list_is_in_the_code_and_listed_once() -> None:
    assert set(LISTED) - logged() == set()
    assert len(LISTED) == len(set(LISTED))


def test_the_links_of_the_list_lead_somewhere() -> None:
    text = (ROOT / "docs" / "LOG_EVENTS.md").read_text()
    headings = re.findall(r"^#+ (.*)$", (ROOT / "docs" / "OPERATE.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\(OPERATE\.md#([\w-]+)\)", text)) - anchors == set()
