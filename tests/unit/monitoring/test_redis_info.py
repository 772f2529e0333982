"""Redis INFO: what is read from it, and the texts that /health makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.health.checks import workers_component
from monitoring.health.impact import explain
from monitoring.health.redis_info import (
    ServerRole,
    counters,
    durability,
    findings,
    grown,
    memory_percent,
)
from monitoring.health.report import Component

GOOD_BROKER = {
    "used_memory": 3_000,
    "maxmemory": 100_000,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
}
GOOD_CACHE = {
    "used_memory": 3_000,
    "maxmemory": 100_000,
    "maxmemory_policy": "allkeys-lru",
    "aof_enabled": 0,
}


@pytest.mark.parametrize(
    ("role", "changes", "codes"),
    [
        ("broker", {}, []),
        ("broker", {"used_memory": 84_999}, []),
        ("broker", {"used_memory": 85_000}, ["memory"]),
        ("broker", {"used_memory": 90_000, "mem_not_counted_for_evict": 10_000}, []),
        ("broker", {"maxmemory": 0}, []),
        ("broker", {"maxmemory_policy": "allkeys-lru"}, ["policy"]),
        ("broker", {"aof_enabled": 0}, ["no_aof"]),
        ("broker", {"aof_last_write_status": "err"}, ["aof_write"]),
        ("broker", {"aof_last_bgrewrite_status": "err"}, ["aof_rewrite"]),
        (
            "broker",
            {"used_memory": 99_000, "aof_last_write_status": "err"},
            ["memory", "aof_write"],
        ),
        ("broker", {"role": "master"}, []),
        ("broker", {"role": "slave"}, ["replica"]),
        ("cache", {}, []),
        ("cache", {"role": "slave"}, ["replica"]),
        ("cache", {"used_memory": 94_999}, []),
        ("cache", {"used_memory": 99_900}, ["memory"]),
        ("cache", {"maxmemory_policy": "allkeys-lfu"}, []),
        ("cache", {"maxmemory_policy": "noeviction"}, ["policy"]),
        ("cache", {"maxmemory": 0}, ["no_limit"]),
    ],
)
def test_the_reported_problems_depend_on_the_role(
    role: ServerRole, changes: dict[str, Any], codes: list[str]
) -> None:
    good = GOOD_BROKER if role == "broker" else GOOD_CACHE
    assert [found.code for found in findings(role, good | changes)] == codes


@pytest.mark.parametrize(
    ("appendfsync", "confirms", "advice"),
    [
        ("always", True, None),
        ("always", False, None),
        ("everysec", True, None),
        (None, True, None),
        ("no", True, "set appendfsync always"),
        ("everysec", False, "may lose buffered requests that were answered 202"),
        ("no", False, "may lose buffered requests that were answered 202"),
        (None, False, "does not tell"),
    ],
)
def test_a_broker_must_bring_requests_to_its_disk(
    appendfsync: str | None, *, confirms: bool, advice: str | None
) -> None:
    found = durability(appendfsync, confirms=confirms)
    assert (found is None) == (advice is None)
    assert found is None or (advice or "") in found.detail


def test_missing_fields_are_no_problem() -> None:
    assert findings("broker", {}) == []
    assert memory_percent({}) is None


@pytest.mark.parametrize(
    ("before", "now", "codes"),
    [
        ({}, {"evicted_keys": 7}, []),
        ({"evicted_keys": 7}, {"evicted_keys": 7}, []),
        ({"evicted_keys": 7}, {"evicted_keys": 9}, ["evicted"]),
        ({"evicted_keys": 7}, {"evicted_keys": 1}, ["evicted"]),  # it was started again
        ({"evicted_keys": 7}, {"evicted_keys": 0}, []),
        ({"rejected_connections": 0}, {"rejected_connections": 2}, ["rejected"]),
    ],
)
def test_counters_are_compared_with_the_previous_reading(
    before: dict[str, int], now: dict[str, int], codes: list[str]
) -> None:
    assert [found.code for found in grown("cache", before, counters(now))] == codes


FRESH = {"money@a": 3, "money-2@b": 700, "scans@a": 0, "beat@a": 5}


@pytest.mark.parametrize(
    ("ages_s", "detail"),
    [
        (FRESH, "alive: 1 beat, 1 money, 1 scans"),
        (FRESH | {"money2@c": 1}, "alive: 1 beat, 2 money, 1 scans"),
        (
            FRESH | {"money@a": 20},
            "money: no heartbeat for 20 s; transfers are accepted but wait; start a money worker",
        ),
        (
            {"money@a": 1, "scans@a": 1},
            (
                "beat: no heartbeat; no scan is scheduled, so stuck transfers are not re-driven; "
                "start beat"
            ),
        ),
    ],
)
def test_each_program_must_have_a_worker_that_beats(ages_s: dict[str, int], detail: str) -> None:
    component = workers_component(ages_s)
    assert component.detail == detail
    assert component.status == ("ok" if detail.startswith("alive") else "degraded")


def test_the_impact_of_an_outage_depends_on_the_other_components() -> None:
    fine, away = Component("ok", "answers"), Component("down", "does not answer")
    one = explain({"database": away, "broker": fine, "cache": away})
    assert one["database"].detail.endswith(
        "transfers are buffered in the broker and settle when the database is back"
    )
    assert one["broker"] == fine
    assert one["cache"].detail.startswith("does not answer: transfers go on")
    both = explain({"database": away, "broker": away, "cache": fine})
    assert all("refused" in both[name].detail for name in ("database", "broker"))
    full = Component("degraded", "is full", refuses=True)
    assert "refused" in explain({"database": away, "broker": full})["database"].detail
    other = explain({"database": fine, "broker": away})
    assert "wait in the database" in other["broker"].detail
