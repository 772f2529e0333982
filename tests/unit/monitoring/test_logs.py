"""Logs: the form of a line, bound ids, and names of events."""

from __future__ import annotations

import ast
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, signals
from celery.exceptions import Ignore
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars

from monitoring.logs import EventLogger, formatter, get_logger
from testing.servers.shared import ROOT
from tests.test_architecture import all_sources, parse
from workers import task_logging

BATCH = "0199a3c2-5e80-7a31-9c4e-2f6b8d0e1a57"
LEVELS = ("debug", "info", "warning", "error")
OF_EVERY_LINE = ("at", "level", "logger", "process", "event", "exception")
PROGRAM = """
import logging
from monitoring.logs import configure, get_logger
configure("INFO")
get_logger("test").warning("it_happened", attempt=2, said="\\x1b[2J")
logging.getLogger("lib").warning("took %s s", 3)
"""

log = get_logger("test")


@pytest.fixture(autouse=True)
def nothing_bound() -> Iterator[None]:
    clear_contextvars()
    yield
    clear_contextvars()


def line_of(record: logging.LogRecord) -> dict[str, Any]:
    text = formatter(terminal=False).format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_an_event_is_one_line_of_json_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    log.info("something_happened", request_id="a\nb", attempt=2)
    line = line_of(caplog.records[0])
    assert list(line) == ["at", "level", "logger", "process", "event", "request_id", "attempt"]
    assert (line["event"], line["level"], line["logger"]) == ("something_happened", "info", "test")
    assert (line["request_id"], line["attempt"], line["process"]) == ("a\nb", 2, os.getpid())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["at"])


def test_a_record_of_an_event_keeps_its_name_as_its_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log.warning("it_happened", attempt=2)
    assert (caplog.records[0].msg, caplog.records[0].args) == ("it_happened", ())


def test_a_level_that_is_off_makes_no_record(caplog: pytest.LogCaptureFixture) -> None:
    log.debug("it_happened")
    caplog.set_level("DEBUG", logger="test")
    log.debug("it_happened")
    assert len(caplog.records) == 1


def test_a_line_of_a_library_has_the_same_shape() -> None:
    record = logging.LogRecord("lib", logging.WARNING, "x.py", 1, "took %s s", ("3",), None)
    line = line_of(record)
    assert (line["logger"], line["level"], line["event"]) == ("lib", "warning", "took 3 s")


def test_extra_of_a_library_becomes_fields(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("lib").warning("it_happened", extra={"attempt": 2})
    assert line_of(caplog.records[0])["attempt"] == 2


def test_no_field_replaces_the_standard_ones(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("it_happened", level="mine", at=3)
    logging.getLogger("lib").warning("it_happened", extra={"logger": "other"})
    ours, theirs = map(line_of, caplog.records)
    assert (ours["level"], ours["level_"], ours["at_"]) == ("warning", "mine", 3)
    assert (theirs["logger"], theirs["logger_"]) == ("lib", "other")


def test_an_error_brings_its_traceback_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    try:
        int("x")
    except ValueError as error:
        log.error("it_failed", exc_info=error)
    assert "ValueError: invalid" in line_of(caplog.records[0])["exception"]


def test_bound_ids_are_on_every_line_of_libraries_too(caplog: pytest.LogCaptureFixture) -> None:
    with bound_contextvars(request_id="r"):
        log.warning("it_happened")
        log.warning("it_happened", request_id="another")
        logging.getLogger("lib").warning("it happened")
        ids = [line_of(record)["request_id"] for record in caplog.records]
    assert ids == ["r", "another", "r"]
    log.warning("it_happened")
    assert "request_id" not in line_of(caplog.records[-1])


def test_bound_ids_stay_in_their_thread(caplog: pytest.LogCaptureFixture) -> None:
    bind_contextvars(request_id="r")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(log.warning, "it_happened").result()
    assert "request_id" not in line_of(caplog.records[0])


def test_a_terminal_gets_coloured_text_without_foreign_control_codes() -> None:
    ours, theirs = printed(to_terminal=True).splitlines()
    plain = re.sub(r"\x1b\[\d+m", "", ours)
    assert plain != ours
    assert re.fullmatch(
        r"\S+ \[warning  \] it_happened \[test\] process=\d+ attempt=2 said=\\x1b\[2J", plain
    )
    assert "took 3 s" in theirs


def test_any_other_output_gets_json() -> None:
    lines = printed(to_terminal=False).splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["it_happened", "took 3 s"]


def printed(*, to_terminal: bool) -> str:
    """Run a process. Returns: what it writes to standard error."""
    reading, writing = pty.openpty() if to_terminal else os.pipe()
    try:
        subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, stderr=writing, check=True)
        os.close(writing)
        with os.fdopen(reading, "rb", buffering=0, closefd=False) as file:
            return file.read(65_536).decode()
    finally:
        os.close(reading)


@pytest.fixture
def celery() -> Iterator[Celery]:
    task_logging.install()
    task_logging.install()  # a second time is harmless
    yield Celery("test", set_as_current=False)
    signals.task_prerun.disconnect(task_logging._bind)
    signals.task_postrun.disconnect(task_logging._unbind)


def test_the_ids_of_a_task_are_on_its_lines_and_gone_when_it_has_ended(
    celery: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    @celery.task(name="money.test", shared=False)
    def move(_batch_id: str, end: str) -> None:
        log.warning("it_happened")
        if end == "failure":
            raise ValueError
        if end == "ignored":
            raise Ignore

    for end in ("success", "failure", "ignored"):
        caplog.clear()
        move.apply(args=(BATCH, end), task_id=f"task-{end}")
        log.warning("it_is_over")
        [during] = (line_of(it) for it in caplog.records if it.message == "it_happened")
        [after] = (line_of(it) for it in caplog.records if it.message == "it_is_over")
        assert (during["task"], during["task_id"]) == ("money.test", f"task-{end}")
        assert during["batch_id"] == BATCH
        assert not {"task", "task_id", "batch_id"} & after.keys()


def test_a_task_whose_end_was_not_signalled_leaves_nothing_to_the_next(
    celery: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    @celery.task(name="scans.test", shared=False)
    def scan() -> None:
        log.warning("it_happened")

    bind_contextvars(task="money.test", batch_id=BATCH)
    scan.apply(task_id="x")
    line = line_of(caplog.records[0])
    assert (line["task"], line["task_id"]) == ("scans.test", "x")
    assert "batch_id" not in line


def test_event_names_are_static_and_no_field_has_a_reserved_name() -> None:
    found = [(path, call) for path in all_sources() for call in calls(path)]
    assert len(found) > 45
    wrong = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path, call in found
        if not is_static(call.args[0])
        or {keyword.arg for keyword in call.keywords} & set(OF_EVERY_LINE)
    ]
    assert not wrong


def calls(path: Path) -> Iterator[ast.Call]:
    """Yield the calls of a file that log an event."""
    for node in ast.walk(parse(path)):
        match node:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Name(id="log") | ast.Attribute(attr="_log"), attr=level
                )
            ) if level in LEVELS:
                yield node


def is_static(name: ast.expr) -> bool:
    match name:
        case ast.Constant(value=str(text)):
            return re.fullmatch(r"[a-z][a-z_]*", text) is not None
        case ast.IfExp(body=body, orelse=orelse):
            return is_static(body) and is_static(orelse)
        case ast.Name() | ast.Attribute():  # passed on by the outage log
            return True
    return False


def test_loggers_are_made_by_the_one_function() -> None:
    assert isinstance(log, EventLogger)
    wrong = [
        str(path.relative_to(ROOT))
        for path in all_sources()
        if re.search(r"^(?!log = )\w+ = get_logger\(", path.read_text(), re.MULTILINE)
    ]
    assert not wrong
