"""Who is taken for hung, and who is not: with real processes and files, and a clock set by hand."""

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
class Scene:
    """One program that leads a group of its own, as supervisor has it, and the watch."""

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
def scene(tmp_path: Path) -> Iterator[Scene]:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command, process_group=0) as process:
        scene = Scene(tmp_path, process)
        scene.note_start(process.pid)
        yield scene
        process.kill()


def test_one_that_beats_is_left_alone(scene: Scene) -> None:
    scene.pass_time(300, touching=True)
    assert not scene.was_ended
    assert scene.process.poll() is None


def test_one_that_stops_beating_is_ended_with_its_group(scene: Scene) -> None:
    scene.pass_time(5, touching=True)
    scene.pass_time(HUNG_AFTER_S - 2)
    assert not scene.was_ended
    scene.pass_time(5)
    assert scene.process.wait(10) == -signal.SIGKILL
    assert scene.said == [
        "money hangs: no heartbeat for 30 s, restarting it",
    ]


def test_one_that_still_starts_has_more_time_but_not_for_ever(scene: Scene) -> None:
    scene.touch()  # of an earlier run
    scene.pass_time(START_WITHIN_S - 5)
    assert not scene.was_ended
    scene.pass_time(10)
    assert scene.was_ended


def test_a_new_start_has_its_time_again(scene: Scene) -> None:
    scene.pass_time(5, touching=True)
    scene.note_start(1)  # no program of ours, so nothing to be ended either
    scene.pass_time(START_WITHIN_S - 5)
    scene.note_start(scene.process.pid)
    scene.pass_time(START_WITHIN_S - 5)
    assert not scene.was_ended


def test_a_watch_that_was_paused_blames_nobody(scene: Scene) -> None:
    scene.pass_time(5, touching=True)
    scene.now_s += 3600
    scene.watch.check()
    scene.pass_time(5)
    assert not scene.was_ended


def test_an_id_that_now_belongs_to_somebody_else_is_not_ended(scene: Scene) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(command) as no_leader:
        scene.note_start(no_leader.pid)
        scene.pass_time(5, touching=True)
        scene.pass_time(2 * HUNG_AFTER_S)
        assert not scene.was_ended
        assert no_leader.poll() is None
        no_leader.kill()


def test_a_program_that_was_never_started_is_no_hang(scene: Scene) -> None:
    (scene.folder / "money.pace").unlink()
    scene.pass_time(2 * START_WITHIN_S)
    assert not scene.was_ended
