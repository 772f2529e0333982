"""Runs the migrations before the application starts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runtime.commands import MIGRATIONS
from stack.errors import StackError
from stack.servers.server import launch_command


def migrate(
    root: Path,
    environment: Mapping[str, str],
    log: Path,
    *,
    options: Sequence[str] = (),
    pause: Callable[[float], None],
) -> None:
    """Run the migrations until they end, with their output in `log`. Harmless to repeat.

    options: of `python -m migrations`.
    Raises: StackError: when they fail.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            launch_command((*MIGRATIONS, *options)),
            cwd=root,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,  # Ctrl-C must not reach them: we stop them
        )
    try:
        while process.poll() is None:
            pause(0.02)
    finally:
        process.terminate()  # harmless if it has ended
        process.wait()
    if process.returncode != 0:
        last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise StackError(f"the migrations failed: {last} (more in {log})")
