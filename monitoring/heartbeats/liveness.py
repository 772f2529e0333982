"""`python -m monitoring.heartbeats.liveness NAME`: whether a program of this machine goes on.

Exit code 0 and one line when its heartbeat file is fresh, 1 and one line when it is not: what
a container's liveness probe runs. Needs no server, so an outage restarts nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from monitoring.heartbeats import heartbeat_files
from settings import Settings, SettingsError

FRESH_S = 30.0
"""Longer than a program is ever busy with a broker that does not answer, between two touches."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at one heartbeat file. Returns: the exit code."""
    options = _parser().parse_args(arguments)
    try:
        folder = options.folder or heartbeat_files.folder(Settings.from_environment().data_dir)
        age_s = heartbeat_files.age_s(folder, options.name)
    except (SettingsError, ValueError, OSError) as error:
        return _say(f"cannot tell: {error}", 1)
    if age_s is None:
        return _say(f"{options.name}: no heartbeat in {folder}", 1)
    said = f"{options.name}: heartbeat {age_s:.1f} s ago"
    if age_s > options.within:
        return _say(f"{said}, which is more than {options.within:g} s", 1)
    return _say(said, 0)


def _say(line: str, code: int) -> int:
    sys.stdout.write(line + "\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Say whether a program goes on.")
    parser.add_argument("name", help="money, scans or beat")
    parser.add_argument("--within", type=float, default=FRESH_S, metavar="S")
    parser.add_argument("--folder", type=Path, help="of the heartbeat files; from DATA_DIR if not")
    return parser


if __name__ == "__main__":
    sys.exit(main())
