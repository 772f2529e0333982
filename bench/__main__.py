"""The benchmark: measures a whole Truepenny, as `make up` starts it, and prints tables.

Everything is on loopback, on servers and data of its own, and bounded in time.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from bench.load.measured import OWN, best_generator
from bench.report import Run
from bench.scenarios import SCENARIOS, LoadScenario, Measurement, measure
from bench.target.accounts import make_accounts
from bench.target.processes import process_uses
from bench.target.running_stack import running_stack, server_version
from bench.target.settled import open_books

ROOT = Path(__file__).parents[1]
_WARM_UP_S = 3.0
_REST_S = 5.0


def main() -> None:
    """Measure and print."""
    options = _options()
    run = measure_checkout(options)
    print(run.as_text())
    if options.json is not None:
        options.json.write_text(json.dumps(run.as_json(), indent=1) + "\n")


def measure_checkout(options: argparse.Namespace) -> Run:
    """Start the stack of the checkout and measure the chosen scenarios one after the other."""
    chosen = [each for each in SCENARIOS if each.name in options.only]
    with running_stack(options.checkout) as stack, open_books(stack.owner_url) as books:
        accounts = make_accounts(stack)
        books.wait_until_settled()
        time.sleep(_REST_S)
        begin, at_rest = books.now(), process_uses(stack)

        def measured(scenario: LoadScenario, seconds: float) -> Measurement:
            return measure(
                stack, books, accounts, scenario, seconds=seconds, generator=options.generator
            )

        measured(SCENARIOS[0], _WARM_UP_S)
        measurements = [measured(each, options.seconds) for each in chosen]
        time.sleep(_REST_S)
        return Run(
            commit=stack.commit,
            machine=f"{os.cpu_count()} cores, PostgreSQL {server_version(stack)}",
            measurements=measurements,
            at_rest=at_rest,
            afterwards=process_uses(stack),
            transfers=books.settled_since(begin).committed,
        )


def _options() -> argparse.Namespace:
    names = [each.name for each in SCENARIOS]
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--only", default=",".join(names), help="scenarios, with commas: %(default)s"
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="of load, per scenario")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="the code to measure")
    parser.add_argument("--generator", choices=("wrk", OWN), default=best_generator())
    parser.add_argument("--json", type=Path, help="a file for the results")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(names):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    main()
