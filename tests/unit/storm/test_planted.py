"""Planted bugs: each still fits the code, and changes it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from testing.storm.planted import BUGS, plant


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_can_be_planted(name: str, tmp_path: Path) -> None:
    plant(BUGS[name], tmp_path)
    for file, _, _ in BUGS[name].changes:
        ast.parse((tmp_path / file).read_text())


def test_there_are_at_least_ten() -> None:
    assert len(BUGS) >= 10
