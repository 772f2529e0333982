"""Ingress: exposes everything that the application serves to clients, except the metrics."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from api.gunicorn_worker import BoundedThreadWorker
from api.http.body import BATCH_BODY_LIMIT
from testing.identity import IDENTITY
from tests.k8s.stacks import stack

FOR_PROMETHEUS = "/metrics"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """Return the application as gunicorn serves it. Importing it connects to nothing."""
    for name in ("BROKER_URL", "CACHE_URL"):
        monkeypatch.setenv(name, "redis://nowhere")
    for name, value in {**IDENTITY, "DATABASE_URL": "postgresql://nowhere"}.items():
        monkeypatch.setenv(name, value)
    sys.modules.pop("wsgi", None)
    yield importlib.import_module("wsgi").app
    sys.modules.pop("wsgi", None)


def paths() -> list[dict[str, Any]]:
    (ingress,) = stack("prod").of_kind("Ingress")
    (rule,) = ingress["spec"]["rules"]
    found: list[dict[str, Any]] = rule["http"]["paths"]
    return found


def leads_in(path: str) -> bool:
    """Match a path as an Ingress does: exactly, or by whole path elements."""
    return any(
        path == one["path"]
        or (one["pathType"] == "Prefix" and path.startswith(one["path"].rstrip("/") + "/"))
        for one in paths()
    )


def test_every_route_except_the_metrics_is_exposed(app: Flask) -> None:
    served = {re.sub(r"<[^>]+>", "x", rule.rule) for rule in app.url_map.iter_rules()}
    assert {path for path in served if not leads_in(path)} <= {FOR_PROMETHEUS}
    assert not leads_in(FOR_PROMETHEUS)
    assert not leads_in(FOR_PROMETHEUS + "/")


def test_each_path_leads_to_the_api_and_over_tls_alone() -> None:
    (ingress,) = stack("prod").of_kind("Ingress")
    for one in paths():
        service = stack("prod").one("Service", one["backend"]["service"]["name"])
        assert service["metadata"]["name"] == "truepenny-api"
        names = [port["name"] for port in service["spec"]["ports"]]
        assert one["backend"]["service"]["port"]["name"] in names
    (rule,), (tls,) = ingress["spec"]["rules"], ingress["spec"]["tls"]
    assert tls["hosts"] == [rule["host"]]
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-redirect"] == "true"


def test_behind_the_ingress_the_clients_address_is_read_from_its_header() -> None:
    settings = stack("prod").one("ConfigMap", "truepenny-settings")["data"]
    assert int(settings["PROXY_HOPS"]) == 1
    # Without a proxy in front, any client could choose its address in the header.
    assert "PROXY_HOPS" not in stack("dev").one("ConfigMap", "truepenny-settings")["data"]


def test_the_largest_batch_and_the_longest_request_are_let_through() -> None:
    (ingress,) = stack("prod").of_kind("Ingress")
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    size = ingress["metadata"]["annotations"][f"{prefix}body-size"]
    assert int(size.removesuffix("m")) * 2**20 > BATCH_BODY_LIMIT
    timeout_s = int(ingress["metadata"]["annotations"][f"{prefix}read-timeout"])
    assert timeout_s > BoundedThreadWorker.request_limit_s
