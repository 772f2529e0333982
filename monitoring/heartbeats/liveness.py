"""Liveness probe: `python -m monitoring.heartbeats.liveness NAME` checks a heartbeat file.

Prints one line. Exit code 0 if the file is fresh, otherwise 1: containers run it as their liveness
probe. It needs no server, so an outage causes no restart.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from monitoring.heartbeats import heartbeat_files
from settings import Settings, SettingsError

FRESH_S = 30.0
"""Longer than a program ever waits for a broker that does not answer, between two touches."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one heartbeat file. Returns: the exit code."""
    options = _parser().parse_args(arguments)
    try:
        folder = options.folder or heartbeat_files.folder(Settings.from_environment().data_dir)
        age_s = heartbeat_files.age_s(folder, options.name)
    except (SettingsError, ValueError, OSError) as error:
        return _report(f"cannot check: {error}", 1)
    if age_s is None:
        return _report(f"{options.name}: no heartbeat in {folder}", 1)
    line = f"{options.name}: heartbeat {age_s:.1f} s ago"
    if age_s > options.within:
        return _report(f"{line}, which is more than {options.within:g} s", 1)
    return _report(line, 0)


def _report(line: str, code: int) -> int:
    sys.stdout.write(line + "\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Check whether a program is running.")
    parser.add_argument("name", help="money, scans or beat")
    parser.add_argument("--within", type=float, default=FRESH_S, metavar="S")
    parser.add_argument(
        "--folder", type=Path, help="folder of the heartbeat files; default: in DATA_DIR"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
