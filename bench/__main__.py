"""The benchmark: measures a whole Truepenny, as `make up` starts it, and prints tables.

Everything is on loopback, on servers and data of its own, and bounded in time.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from bench.comparison import compare
from bench.load.measured import OWN, best_generator
from bench.report import text_of
from bench.run import PARTS, Choice, run_on
from bench.target.code import checkout, commit

ROOT = Path(__file__).parents[1]
_HISTORIES = "0,1000000"
_LARGE_HISTORY = ",10000000"


def main() -> None:
    """Measure, print, and write the files that were asked for."""
    options = _options()
    choice = Choice(frozenset(options.only), options.seconds, options.transfers, options.generator)
    code = checkout(options.checkout)
    if options.against is not None:
        with commit(options.checkout, options.against) as before:
            comparison = compare(before, code, choice, rounds=options.rounds)
        print(comparison.as_text())
        document = [run.as_json() for run in (*comparison.before, *comparison.after)]
    else:
        run = run_on(code, choice)
        print(text_of(run))
        document = [run.as_json()]
        if options.chart is not None:
            from bench.chart import draw  # its library is needed for the chart alone

            draw(run, options.chart)
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", type=_parts, help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--seconds", type=float, default=15.0, help="of load, per scenario (15)")
    parser.add_argument(
        "--transfers",
        type=_histories,
        help="how many the database has, with commas: 0 and 1,000,000 by default, with FULL=1 also"
        " 10,000,000; 0 with --only",
    )
    parser.add_argument("--checkout", type=Path, default=ROOT, help="the code to measure")
    parser.add_argument("--against", help="a commit to measure in turn with the checkout")
    parser.add_argument("--rounds", type=int, default=5, help="with --against (5)")
    parser.add_argument("--generator", choices=("wrk", OWN), default=best_generator())
    parser.add_argument("--json", type=Path, help="a file for all results")
    parser.add_argument("--chart", type=Path, help="a file for the chart (SVG)")
    options = parser.parse_args()
    if options.transfers is None:
        full = _HISTORIES + _LARGE_HISTORY if os.environ.get("FULL") == "1" else _HISTORIES
        options.transfers = _histories("0" if options.only else full)
    options.only = options.only or PARTS
    return options


def _parts(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return names


def _histories(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(number) for number in text.split(",")}))


if __name__ == "__main__":
    main()
