"""Runs a load with wrk or with our own generator, as a process of its own."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.load.plan import LoadPlan, LoadResult

OWN = "own generator"
_FOLDER = Path(__file__).parent
_ENDS_WITHIN_S = 120.0


def best_generator() -> str:
    """Return `wrk` where the machine has it, else our own."""
    return "wrk" if shutil.which("wrk") else OWN


def run_load(plan: LoadPlan, *, generator: str) -> LoadResult:
    """Run the load to its end. wrk can neither wait nor pause: such a plan gets our own generator.

    Raises: SystemExit: when the generator fails.
    """
    if generator == OWN or plan.wait_s or plan.every_s:
        command = (sys.executable, "-I", "-S", str(_FOLDER / "generator.py"))
        measured = _run(command, {}, json.dumps(asdict(plan)), plan.seconds)
        return LoadResult(OWN, **measured)
    environment = {
        "LOAD_WALLETS": ",".join(plan.wallets),
        "LOAD_API_KEY": plan.api_key,
        "LOAD_PREFIX": plan.prefix,
        "LOAD_BATCH": str(plan.batch),
    }
    wrk = ("wrk", "--threads", "1", "--connections", str(plan.connections))
    script = ("--duration", f"{plan.seconds:g}s", "--script", str(_FOLDER / "submit.lua"))
    began_s = _children_cpu_s()
    measured = _run((*wrk, *script, f"http://127.0.0.1:{plan.port}"), environment, "", plan.seconds)
    answered, failed = measured["requests"], measured["failed"]
    return LoadResult(
        generator,
        measured["seconds"],
        (answered - failed) * plan.batch,
        {"2xx": answered - failed} | ({"failed": failed} if failed else {}),
        measured["p50_ms"],
        measured["p99_ms"],
        _children_cpu_s() - began_s,
    )


def _run(
    command: tuple[str, ...], environment: dict[str, str], given: str, seconds: float
) -> dict[str, Any]:
    """Run a generator. Returns: the JSON in the last line that it prints."""
    done = subprocess.run(
        command,
        input=given,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + _ENDS_WITHIN_S,
    )
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
