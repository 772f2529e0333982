"""The plan of a storm: the same for the same seed, broken two thirds of the time, and bounded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from testing.programs import ROOT
from testing.storm.clients import DOING
from testing.storm.faults import FAULTS
from testing.storm.kinds import KINDS
from testing.storm.plan import BY_CHANCE_AFTER_S, CLIENTS, LATE_S, WALLETS, Plan, plan_of

SEEDS = range(30)
FIXED = ((2, 90, "redis"), (3, 90, "rabbitmq"))
"""Seed, seconds and broker of the storms that `tests/acceptance/test_storm.py` runs."""


def storm(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "testing.storm", *arguments),
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def plans(seconds: int = 60) -> list[Plan]:
    return [plan_of(seed, seconds, broker) for seed in SEEDS for broker in ("redis", "rabbitmq")]


def test_the_same_seed_gives_the_same_plan_in_every_process() -> None:
    options = ("--plan", "--seed", "7", "--seconds", "20", "--broker", "rabbitmq")
    first, second = storm(*options), storm(*options, hash_seed="1")
    assert first.returncode == 0
    assert first.stdout == second.stdout == plan_of(7, 20, "rabbitmq").text()


def test_the_fixed_storms_must_bring_about_everything_that_any_storm_may() -> None:
    planned = {name for fixed in FIXED for name in plan_of(*fixed).counters}
    any_storm = {name for fixed in FIXED for name in plan_of(fixed[0], 600, fixed[2]).counters}
    assert {kind.name for kind in KINDS} <= planned
    assert any_storm == planned


def test_another_seed_gives_another_plan() -> None:
    texts = {plan.text() for plan in plans(20)}
    assert len(texts) == 2 * len(SEEDS)


def test_about_two_thirds_of_the_time_something_is_broken_and_at_times_two_things() -> None:
    for plan in (plan_of(seed, 600, "redis") for seed in range(3)):
        broken = [
            sum(fault.at_s <= second < fault.ends_s for fault in plan.faults)
            for second in range(600)
        ]
        assert 0.55 < sum(map(bool, broken)) / 600 < 0.75
        assert sum(count >= 2 for count in broken) > 0.05 * 600
        assert max(broken) <= 2


def test_two_faults_at_once_do_not_disturb_each_other() -> None:
    kinds = {kind.name: kind for kind in KINDS}
    for plan in plans():
        for one in plan.faults:
            for other in plan.faults:
                if one is not other and one.at_s <= other.at_s < one.ends_s:
                    assert one.domain != other.domain
                    assert other.domain not in kinds[one.name].not_beside
                    assert one.domain not in kinds[other.name].not_beside


def test_the_broker_is_never_emptied_while_the_database_is_away() -> None:
    emptied = next(kind for kind in KINDS if kind.name == "broker emptied")
    assert "database" in emptied.not_beside


def test_all_faults_end_in_time_and_requests_go_on_for_late_ones() -> None:
    for plan in plans():
        assert plan.faults
        assert all(fault.ends_s <= plan.seconds for fault in plan.faults)
        for operations in plan.operations.values():
            assert all(each["at"] <= plan.seconds + LATE_S for each in operations)


def test_every_fault_and_every_operation_can_be_made() -> None:
    assert {kind.name for kind in KINDS} == set(FAULTS)
    operations = plan_of(1, 60, "redis").operations.values()
    assert {each["do"] for planned in operations for each in planned} == set(DOING)


def test_what_is_planned_is_counted() -> None:
    for plan in plans():
        assert {fault.name for fault in plan.faults} <= set(plan.counters)
        if any(fault.name == "database killed" for fault in plan.faults):
            assert "buffered" in plan.counters
    assert "redriven" in plan_of(1, BY_CHANCE_AFTER_S, "redis").counters


def test_both_clients_use_the_same_keys_for_wallets_of_their_own() -> None:
    plan = plan_of(3, 60, "redis")
    sent = {
        client: [
            item
            for process in (f"{client}1", f"{client}2")
            for each in plan.operations[process]
            for item in each.get("items", [])
        ]
        for client in CLIENTS
    }
    first, second = ({item["key"] for item in sent[client]} for client in CLIENTS)
    assert len(first & second) > 100
    half = WALLETS // 2
    assert {item["source"] for item in sent["a"]} == set(range(half))
    assert {item["source"] for item in sent["b"]} == set(range(half, WALLETS))
    assert any(item.get("is_other") for item in sent["a"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seed", "x"), "argument --seed: invalid int value: 'x'"),
        (("--seed", "-1"), "SEED must not be negative"),
        (("--seed", "1", "--seconds", "9"), "SECONDS must be from 10 to 86400"),
        (("--seed", "1", "--seconds", "soon"), "argument --seconds: invalid int value: 'soon'"),
        (("--seed", "1", "--broker", "kafka"), "argument --broker: invalid choice: 'kafka'"),
        (("--seed", "1", "--out", "/"), "OUT must be a file in a folder that exists"),
        (("--seed", "1", "--out", "/no/such/file"), "OUT must be a file in a folder that exists"),
        ((), "the following arguments are required: --seed"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_2(options: tuple[str, ...], message: str) -> None:
    said = storm(*options)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.count("\n") == 1
    assert said.stderr.startswith(f"storm: {message}")
