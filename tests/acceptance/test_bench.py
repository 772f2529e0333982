"""The benchmark, run shortly on a real `make up`: it measures something, and its books balance."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.load.measured import OWN
from bench.target.code import checkout, one_by_one
from testing.servers.shared import ROOT

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

PARTS = {"door", "hop", "claim", "wake", "reserve_sql", "deduct_sql", "credit_sql", "commit_sql"}


def test_a_short_run_measures_every_column(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = (sys.executable, "-m", "bench", "--only", "singles,batches,idle_next,scan")
    options = ("--seconds", "1", "--transfers", "2000", "--generator", OWN, "--json", str(results))
    done = subprocess.run(
        (*command, *options), cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    for title in ("singles, 32 connections", "application, all", "bytes per transfer", "Full scan"):
        assert title in done.stdout
    [run] = json.loads(results.read_text())
    assert [row["scenario"] for row in run["measurements"]] == ["singles", "batches", "idle_next"]
    for row in run["measurements"]:
        assert set(row["load"]["statuses"]) <= {"201", "202"}
        assert row["settled"]["committed"] == row["load"]["accepted"] > 0
        assert row["settled_per_s"] > 0
        assert 0 < row["load"]["p50_ms"] <= row["load"]["p99_ms"]
        assert 0 < row["settled"]["p50_ms"] <= row["settled"]["p99_ms"]
        assert {"api", "money", "postgres", "load generator"} <= set(row["cpu_s"])
    assert set(run["measurements"][-1]["parts"]) == PARTS
    # The scan, which has found nothing, has read the transfers that were loaded, too.
    assert run["full_scan"]["transfers"] >= 2000
    assert run["bytes_on_disk"]["postings"] > 0
    assert all(use["pss_bytes"] > 0 for use in run["at_rest"].values())


def test_the_copy_for_one_chain_per_transfer_claims_one_at_a_time() -> None:
    with one_by_one(checkout(ROOT)) as copy:
        read = "from ledger import reserve; print(reserve.CLAIM_LIMIT)"
        said = subprocess.check_output((sys.executable, "-c", read), cwd=copy.folder, text=True)
        assert said.strip() == "1"
