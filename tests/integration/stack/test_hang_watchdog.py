"""Hang watchdog: which processes count as hung, with real processes and a manual clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from monitoring.heartbeats.heartbeat_files import START_WITHIN_S, HeartbeatFile
from stack.processes.hang_watchdog import HangWatchdog

HUNG_AFTER_S = 30.0
LOOK_EVERY_S = 0.5


@dataclass
class Scenario:
    """One program in a process group of its own, as under supervisor, and the watchdog."""

    folder: Path
    process: subprocess.Popen[bytes]
    now_s: float = 1_000.0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = HangWatchdog(
            names=["money"],
            run=self.folder,
            heartbeats=self.folder,
            hung_after_s=HUNG_AFTER_S,
            say=self.said.append,
            clock=lambda: self.now_s,
        )

    def note_start(self, process_id: int) -> None:
        (self.folder / "money.pace").write_text(f"{process_id:<10}\n")

    def pass_time(self, seconds: float, *, touching: bool = False) -> None:
        for _ in range(int(seconds / LOOK_EVERY_S)):
            self.now_s += LOOK_EVERY_S
            if touching:
                self.touch()
            self.watch.check()

    def touch(self) -> None:
        HeartbeatFile(self.folder, "money").touch()
        os.utime(self.folder / "money", times=(self.now_s, self.now_s))

    @property
    def was_ended(self) -> bool:
        return bool(self.said)


@pytest.fixture
def scenario(tmp_path: Path) -> Iterator[Scenario]:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, process_group=0) as process:
        scenario = Scenario(tmp_path, process)
        scenario.note_start(process.pid)
        yield scenario
        process.kill()


def test_a_process_that_beats_is_left_alone(scenario: Scenario) -> None:
    scenario.pass_time(300, touching=True)
    assert not scenario.was_ended
    assert scenario.process.poll() is None


def test_a_process_that_stops_beating_is_ended_with_its_group(scenario: Scenario) -> None:
    scenario.pass_time(5, touching=True)
    scenario.pass_time(HUNG_AFTER_S - 2)
    assert not scenario.was_ended
    scenario.pass_time(5)
    assert scenario.process.wait(10) == -signal.SIGKILL
    assert scenario.said == [
        "money hangs: no heartbeat for 30 s, restarting it",
    ]


def test_a_starting_process_has_more_time_but_not_without_end(scenario: Scenario) -> None:
    scenario.touch()  # of an earlier run
    scenario.pass_time(START_WITHIN_S - 5)
    assert not scenario.was_ended
    scenario.pass_time(10)
    assert scenario.was_ended


def test_a_restart_gets_its_full_time_again(scenario: Scenario) -> None:
    scenario.pass_time(5, touching=True)
    scenario.note_start(1)  # not a program of ours, so it is not ended
    scenario.pass_time(START_WITHIN_S - 5)
    scenario.note_start(scenario.process.pid)
    scenario.pass_time(START_WITHIN_S - 5)
    assert not scenario.was_ended


def test_a_watchdog_that_was_paused_ends_no_process(scenario: Scenario) -> None:
    scenario.pass_time(5, touching=True)
    scenario.now_s += 3600
    scenario.watch.check()
    scenario.pass_time(5)
    assert not scenario.was_ended


def test_an_id_that_now_belongs_to_another_process_is_not_ended(scenario: Scenario) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command) as no_leader:
        scenario.note_start(no_leader.pid)
        scenario.pass_time(5, touching=True)
        scenario.pass_time(2 * HUNG_AFTER_S)
        assert not scenario.was_ended
        assert no_leader.poll() is None
        no_leader.kill()


def test_a_program_that_was_never_started_is_no_hang(scenario: Scenario) -> None:
    (scenario.folder / "money.pace").unlink()
    scenario.pass_time(2 * START_WITHIN_S)
    assert not scenario.was_ended
