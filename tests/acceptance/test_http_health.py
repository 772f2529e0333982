"""Health over HTTP: right, and quick, whatever hangs."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
import redis

from monitoring import heartbeats
from stack.ports import LOOPBACK
from tests.acceptance.http_client import Caller, serving
from tests.price_scene import put_live_prices
from tests.worker_processes import eventually

pytestmark = pytest.mark.acceptance


def test_health_names_every_component_without_a_key(client: Caller, cache_url: str) -> None:
    heartbeats.beat(redis.Redis.from_url(cache_url), "test-worker")
    put_live_prices(cache_url)
    nobody = Caller(client.port)
    eventually(lambda: nobody.get("/health").json()["status"] == "ok")
    answer = nobody.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    components = answer.json()["components"]
    assert list(components) == ["database", "broker", "cache", "prices", "workers"]
    assert {component["status"] for component in components.values()} == {"ok"}
    assert components["prices"]["detail"] == "4 live"
    assert components["workers"]["detail"].endswith("alive")


def test_health_answers_within_a_second_when_a_server_hangs(
    database_url: str, tmp_path: Path
) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:  # takes connections, never answers
        url = f"redis://:hunter2@{LOOPBACK}:{silent.getsockname()[1]}/0"
        environment = {"DATABASE_URL": database_url, "BROKER_URL": url, "CACHE_URL": url}
        with serving(log=tmp_path / "gunicorn.log", **environment) as port:
            for _ in range(3):
                begun = time.monotonic()
                answer = Caller(port).get("/health")
                assert time.monotonic() - begun < 1.2
            assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
            components = answer.json()["components"]
            assert components["database"]["status"] == "ok"
            assert components["broker"]["status"] == "down"
            assert components["cache"]["status"] == "down"
            assert components["workers"]["status"] != "ok"
            assert "hunter2" not in answer.text
