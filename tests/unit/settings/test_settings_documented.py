"""The settings in docs/SETTINGS.md, compared with those that the code reads, in both directions."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import settings
from settings import secret_files
from testing.identity import IDENTITY
from testing.servers.shared import ROOT

PAGE = (ROOT / "docs" / "SETTINGS.md").read_text()


def read_by_the_code() -> set[str]:
    """Yield the names in calls such as `values.port("PORT", 8000)`."""
    names = set()
    for call in ast.walk(ast.parse(Path(settings.__file__).read_text())):
        match call:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="values")),
                args=[ast.Constant(value=str(name)), *_],
            ):
                names.add(name)
    return names


def test_every_setting_is_documented_once_and_no_other() -> None:
    listed = re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == read_by_the_code()


def test_every_setting_that_may_be_a_file_is_documented() -> None:
    listed = re.findall(r"`([A-Z_]+)_FILE`", PAGE)
    assert sorted(listed) == sorted(secret_files._SECRETS)


def test_the_documented_defaults_of_numbers_are_those_of_the_code() -> None:
    urls = {
        **IDENTITY,
        "DATABASE_URL": "postgresql://h/d",
        "BROKER_URL": "redis://h",
        "CACHE_URL": "redis://h",
    }
    read = settings.Settings.from_environment(urls)
    for name, default in re.findall(
        r"^\| `([A-Z_]+)` \| `([0-9]+(?:\.[0-9]+)?)` \|", PAGE, re.MULTILINE
    ):
        assert float(getattr(read, name.lower())) == float(default), name
