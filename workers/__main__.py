"""Program of a worker, or of beat: starts Celery without its command line.

    python -m workers worker --hostname money@%h --queues money.advance,money.reserve
    python -m workers beat

Celery's own command line also loads Flower, an interactive shell and all its other commands,
which cost each process 22 MB. Commands such as `celery --app workers.app inspect ping` still work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from celery.apps.worker import Worker
from celery.utils.nodenames import default_nodename, host_format

from workers.app import app


def main(arguments: Sequence[str] | None = None) -> int | str | None:
    """Run until a signal ends the process. Returns: the exit code, or why it could not start."""
    parser = argparse.ArgumentParser(prog="python -m workers", description="Run a worker, or beat.")
    programs = parser.add_subparsers(dest="program", required=True)
    programs.add_parser("beat", help="send the tasks of the schedule")
    worker = programs.add_parser("worker", help="run the tasks of some queues")
    worker.add_argument("-n", "--hostname", required=True, help="its name, as money@%%h")
    worker.add_argument("-Q", "--queues", required=True, help="separated by commas")
    worker.add_argument("-c", "--concurrency", type=int, default=2, help="processes for tasks")
    options = parser.parse_args(arguments)
    if options.program == "beat":
        app.Beat().run()
        return 0
    started: Worker = app.Worker(
        hostname=host_format(default_nodename(options.hostname)),
        queues=options.queues,
        concurrency=options.concurrency,
        # Workers find work on the broker, not by asking each other.
        without_gossip=True,
        without_mingle=True,
    )
    started.start()
    # Celery keeps the argument of SystemExit, which may be a line for the person at the terminal.
    code: int | str | None = started.exitcode
    return code


if __name__ == "__main__":
    sys.exit(main())
