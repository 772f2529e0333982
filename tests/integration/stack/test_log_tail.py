"""Log tail: shows serious lines of the logs on the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.processes.log_tail import LogTail


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("2026-11-23 22:00:00,000 INFO spawned: 'api' with pid 17", None),
        (
            "2026-11-23 22:00:00,000 WARN exited: api (terminated by SIGKILL; not expected)",
            "api ended (terminated by SIGKILL): starting it again",
        ),
        (
            "2026-11-23 22:00:00,000 INFO exited: beat (exit status 0; expected)",
            "beat ended (exit status 0): starting it again",
        ),
        ("2026-11-23 22:00:00 UTC [1] PANIC:  no space left", "name | {line}"),
        ("2026-11-23 22:00:00 UTC [1] ERROR:  deadlock detected", None),
        ('{"at": "now", "level": "info", "event": "ready"}', None),
        (
            '{"at": "now", "level": "warning", "logger": "x", "event": "late", "age_s": 7}',
            "name | [warning  ] late age_s=7",
        ),
        (
            '{"level": "error", "process": 7, "event": "lost", "why": "\\u001b[2J"}',
            r"name | [error    ] lost why=\x1b[2J",
        ),
        (  # it is one line, whatever else than a line feed some programs break lines at
            '{"level": "error", "event": "lost", "why": "\u2028FATAL \x85name exited: api (x)"}',
            r"name | [error    ] lost why='\\u2028FATAL \\x85name exited: api (x)'",
        ),
        ('{"a":' * 100_000, "name | {line}"),
        ('{"at": "now", "level": "err', 'name | {"at": "now", "level": "err'),
        ("", None),
    ],
)
def test_a_line_is_shown_when_it_is_serious(tmp_path: Path, line: str, shown: str | None) -> None:
    log = tmp_path / "name.log"
    follower = LogTail(log)
    append(log, f"{line}\n")
    expected = [] if shown is None else [shown.replace("{line}", line)]
    assert list(follower.important_lines()) == expected


def test_only_new_and_complete_lines_are_read(tmp_path: Path) -> None:
    log = tmp_path / "name.log"
    append(log, "FATAL before\n")
    follower = LogTail(log)
    append(log, "FATAL half")
    assert list(follower.important_lines()) == []
    append(log, " and half\n")
    assert list(follower.important_lines()) == ["name | FATAL half and half"]
    assert list(follower.important_lines()) == []


def test_a_new_file_after_rotation_is_read_from_its_start(tmp_path: Path) -> None:
    log = tmp_path / "name.log"
    append(log, "x" * 100 + "\n")
    follower = LogTail(log)
    log.write_text("FATAL new\n")
    assert list(follower.important_lines()) == ["name | FATAL new"]


def test_a_flood_is_cut_short(tmp_path: Path) -> None:
    log = tmp_path / "name.log"
    follower = LogTail(log)
    append(log, "FATAL\n" * 1000)
    shown = list(follower.important_lines())
    assert len(shown) == 21
    assert shown[-1] == f"name | ... more in {log}"
