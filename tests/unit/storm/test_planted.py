"""Planted bugs: each still fits the code, and changes it."""

from __future__ import annotations

import ast

import pytest

from testing.programs import ROOT
from testing.storm.planted import BUGS, changed


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_can_be_planted(name: str) -> None:
    for file, text in changed(BUGS[name]).items():
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse((ROOT / file).read_text()))


def test_there_are_at_least_ten() -> None:
    assert len(BUGS) >= 10
