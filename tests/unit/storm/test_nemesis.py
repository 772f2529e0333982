"""The nemesis: what it could not do at once is in the history each time, and is done later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from testing.storm.faults import FAULTS
from testing.storm.history import Recorder
from testing.storm.nemesis import Nemesis
from testing.storm.plan import Fault, plan_of
from testing.storm.scene import NotNow, Scene


def test_each_attempt_at_a_fault_is_in_the_history_for_it_disturbs_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[Fault] = []

    @contextmanager
    def late(_: Scene, fault: Fault) -> Iterator[None]:
        attempts.append(fault)
        if len(attempts) < 4:
            raise NotNow("nothing came by")
        yield

    [planned, *_] = plan_of(1, 10, "redis").faults
    fault = replace(planned, at_s=0.0, lasts_s=0.0)
    monkeypatch.setitem(FAULTS, fault.name, late)
    recorder = Recorder(tmp_path / "history.jsonl")
    scene: Scene = Scene.__new__(Scene)
    Nemesis(replace(plan_of(1, 10, "redis"), faults=[fault]), scene, recorder).run(lambda: None)
    recorder.close()
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [each["phase"] for each in lines] == ["failed", "failed", "failed", "begin", "end"]
    assert recorder.counts[fault.name] == 1
