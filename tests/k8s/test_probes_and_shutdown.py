"""Probes and shutdown: health checks of pods, and the time they get to stop."""

from __future__ import annotations

import runpy
from typing import Any

import pytest

from testing.identity import IDENTITY
from testing.servers.shared import ROOT
from tests.k8s.stacks import WORKERS, Stack, pod
from workers.celery_app import TIME_LIMIT_S

WITH_HEARTBEAT = (*WORKERS, "beat")


def test_the_api_is_asked_over_http(each: Stack) -> None:
    (container,) = pod(each.of_role("api"))["containers"]
    paths = {
        name: container[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",  # never /health/ready: an outage is no reason to restart
        "readinessProbe": "/health/ready",
    }
    # The answer takes up to a second, whichever server hangs.
    assert all(container[name]["timeoutSeconds"] >= 2 for name in paths)


@pytest.mark.parametrize("role", WITH_HEARTBEAT)
def test_programs_with_a_heartbeat_are_probed_by_it(each: Stack, role: str) -> None:
    (container,) = pod(each.of_role(role))["containers"]
    for name in ("startupProbe", "livenessProbe"):
        probe = container[name]
        assert probe["exec"]["command"] == ["python", "-m", "monitoring.heartbeats.liveness", role]
        assert probe["timeoutSeconds"] >= 5  # Python has to start
    assert "readinessProbe" not in container  # no Service leads to it


def test_every_long_running_container_has_a_liveness_probe(each: Stack) -> None:
    for workload in each.workloads:
        if workload["kind"] == "Job":
            continue
        for container in pod(workload)["containers"]:
            assert container.keys() >= {"startupProbe", "livenessProbe"}
            startup = container["startupProbe"]
            assert startup["periodSeconds"] * startup["failureThreshold"] >= 60
            liveness = container["livenessProbe"]
            assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 30
            for name in ("startupProbe", "livenessProbe", "readinessProbe"):
                port = _port_of(container.get(name, {}))
                assert port is None or port in {one["name"] for one in container["ports"]}


def _port_of(probe: dict[str, Any]) -> Any:
    return next((probe[how]["port"] for how in ("httpGet", "tcpSocket") if how in probe), None)


def test_pods_get_enough_time_to_stop(each: Stack) -> None:
    for role in WORKERS:
        assert pod(each.of_role(role))["terminationGracePeriodSeconds"] >= TIME_LIMIT_S + 15
    (container,) = pod(each.of_role("api"))["containers"]
    pause_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The pod still gets requests until every proxy knows that it is leaving.
    assert pause_s >= 5
    grace_s = pod(each.of_role("api"))["terminationGracePeriodSeconds"]
    assert grace_s >= pause_s + _graceful_timeout_s() + 5


def _graceful_timeout_s() -> int:
    environment = {
        **IDENTITY,
        "DATABASE_URL": "postgresql://nowhere",
        "BROKER_URL": "redis://nowhere",
        "CACHE_URL": "redis://nowhere",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return int(runpy.run_path(str(ROOT / "api" / "gunicorn.conf.py"))["graceful_timeout"])
