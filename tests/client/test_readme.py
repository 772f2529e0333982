"""The client's README: each of its blocks runs against the real engine, in order."""

from __future__ import annotations

import re
from typing import Any

import pytest

from stack.servers.ports import LOOPBACK
from testing.servers.shared import ROOT
from tests.client.conftest import Engine

README = (ROOT / "client" / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_every_block_runs(
    running: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRUEPENNY_URL", f"http://{LOOPBACK}:{running.port}")
    monkeypatch.setenv("TRUEPENNY_API_KEY", running.keys["client"])
    source, destination = running.wallet(100), running.wallet()
    names: dict[str, Any] = {"mine": str(source.id), "theirs": str(destination.id)}
    assert len(BLOCKS) >= 6
    for block in BLOCKS:
        exec(compile(block, "client/README.md", "exec"), names)  # noqa: S102 - our own
    printed = capsys.readouterr().out
    assert "not yet" not in printed
    assert "refused" not in printed
    with running.client() as tp:
        paid = tp.transfers.list(wallet=destination.id)
        assert len([each.wait(20) for each in paid]) == 6


def test_the_first_transfer_has_five_lines() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line]) <= 5
