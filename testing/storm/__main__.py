"""Command line of a storm: `python -m testing.storm --seed 1 --seconds 60 --broker redis`.

It ends with 0 when everything became final, with 1 when not; whether it was right is for
`tools/check_history.py` to say. A wrong option is one line, and 2.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from testing.servers.brokers import KINDS
from testing.storm.history import Recorder
from testing.storm.installation import installation_of
from testing.storm.machine import missing
from testing.storm.plan import Plan, plan_of
from testing.storm.run import Storm

_SECONDS = range(10, 86_401)
_ENDING = (signal.SIGINT, signal.SIGTERM)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"storm: {message}\n")


def main() -> int:
    """Run the storm that the command line asks for."""
    options = _options()
    plan = plan_of(options.seed, options.seconds, options.broker)
    if options.plan:
        sys.stdout.write(plan.text())
        return 0
    if unable := {name: why for name, why in missing().items() if name in plan.counters}:
        for name, why in unable.items():
            print(f"storm: left out on this machine: {name}: {why}", file=sys.stderr)
        if os.environ.get("CI") == "true":
            return 1
        plan = plan.without(set(unable))
    for number in _ENDING:
        signal.signal(number, _interrupted)
    try:
        return _run(plan, options.out)
    except KeyboardInterrupt:
        print("storm: interrupted; all processes were ended", file=sys.stderr)
        return 130


def _options() -> argparse.Namespace:
    parser = _Parser(prog="storm", description="Run a seeded storm of faults.")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--broker", choices=KINDS, default="redis")
    parser.add_argument("--out", type=Path, default=Path("history.jsonl"))
    parser.add_argument("--plan", action="store_true", help="print the plan, and run nothing")
    options = parser.parse_args()
    if options.seconds not in _SECONDS:
        parser.error(f"SECONDS must be from {_SECONDS[0]} to {_SECONDS[-1]}")
    if options.seed < 0:
        parser.error("SEED must not be negative")
    if options.out.is_dir() or not options.out.parent.is_dir():
        parser.error("OUT must be a file in a folder that exists")
    return options


def _interrupted(*_: object) -> NoReturn:
    for number in _ENDING:  # a second one would interrupt the cleaning up
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(plan: Plan, out: Path) -> int:
    folder = Path(tempfile.mkdtemp(prefix="truepenny-storm-"))
    folder.chmod(0o711)  # the servers' account must be able to enter
    try:
        with installation_of(folder, plan) as installation:
            recorder = Recorder(out)
            try:
                is_final = Storm(plan, installation, recorder).run()
            finally:
                recorder.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if is_final else 1


if __name__ == "__main__":
    sys.exit(main())
