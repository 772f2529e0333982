"""Launcher: starts programs with a minimum interval, one at a time, tied to their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stack.launcher import PACE_S, keep_pace
from stack.servers.server import launch_command


def launch(*options: str, script: str = "print('ran')") -> subprocess.Popen[str]:
    command = launch_command((sys.executable, "-c", script), *options)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("started_s_ago", "held_s"), [(None, 0.0), (PACE_S, 0.0), (PACE_S - 0.3, 0.3), (-3600, 0.0)]
)
def test_starts_are_held_apart(tmp_path: Path, started_s_ago: float | None, held_s: float) -> None:
    marker = tmp_path / "pace"
    if started_s_ago is not None:
        marker.touch()
        os.utime(marker, times=(time.time() - started_s_ago,) * 2)
    start = time.monotonic()
    keep_pace(marker)
    assert held_s - 0.05 <= time.monotonic() - start < held_s + 0.25
    assert abs(marker.stat().st_mtime - time.time()) < 0.25


def test_the_marker_names_the_process_that_was_started_last(tmp_path: Path) -> None:
    for _ in range(2):
        keep_pace(tmp_path / "pace")
        os.utime(tmp_path / "pace", times=(0, 0))
        assert int((tmp_path / "pace").read_text()) == os.getpid()
    (tmp_path / "pace").write_text(f"{10**8:<10}\n")
    keep_pace(tmp_path / "pace")
    assert int((tmp_path / "pace").read_text()) == os.getpid()


def test_a_program_waits_for_the_file_it_comes_after(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    with launch("--after", str(ready)) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        ready.touch()
        output, _ = process.communicate(timeout=10)
    assert output == "ran\n"


def test_a_program_waits_until_its_earlier_run_has_ended(tmp_path: Path) -> None:
    alone = ("--alone", str(tmp_path / "lock"))
    with launch(*alone, script="import time; print('ran', flush=True); time.sleep(60)") as first:
        assert first.stdout
        assert first.stdout.readline() == "ran\n"
        with launch(*alone) as second:
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(0.5)
            first.kill()
            output, _ = second.communicate(timeout=10)
    assert output == "ran\n"
