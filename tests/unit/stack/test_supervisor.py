"""Supervisor configuration: order, restarts and quoting."""

from __future__ import annotations

from configparser import RawConfigParser
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.processes.programs import Program
from stack.processes.supervisor import configuration


def parsed(*, directory: Path = Path("/srv")) -> RawConfigParser:
    parser = RawConfigParser()
    parser.read_string(
        configuration(
            servers=[Program("postgres", ("/bin/postgres", "-D", "/a b/100%"))],
            app=[Program("api", ("gunicorn",)), Program("beat", ("celery", "money@%h"))],
            directory=directory,
        )
    )
    return parser


def test_the_application_stops_before_the_servers_it_uses() -> None:
    groups = parsed()
    assert groups["group:app"]["programs"] == "api,beat"
    assert int(groups["group:app"]["priority"]) > int(groups["group:servers"]["priority"])


@pytest.mark.parametrize("program", ["postgres", "api", "beat"])
def test_nothing_is_ever_given_up(program: str) -> None:
    section = parsed()[f"program:{program}"]
    assert section["autorestart"] == "true"
    assert section["startsecs"] == "0"


def test_commands_survive_quoting_and_expansion() -> None:
    sections = parsed()
    assert sections["program:postgres"]["command"] == "/bin/postgres -D '/a b/100%%'"
    assert sections["program:beat"]["command"] == "celery money@%%h"


@pytest.mark.parametrize("path", ["/srv/a ;b", "/srv/a #b", "/srv/a\nb"])
def test_a_path_that_would_become_a_comment_is_refused(path: str) -> None:
    with pytest.raises(StackError, match="supervisor cannot use the path"):
        parsed(directory=Path(path))
