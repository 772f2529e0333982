"""Settings of gunicorn: the address on which it listens, and how long connections stay open."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from gunicorn.util import parse_address

from testing.identity import IDENTITY
from tests.unit.settings.test_settings import URLS

CONFIG = Path(__file__).parents[3] / "api" / "gunicorn.conf.py"


def configuration(monkeypatch: pytest.MonkeyPatch, **settings: str) -> dict[str, Any]:
    for name, value in (IDENTITY | URLS | settings).items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(CONFIG))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "::"])
def test_it_listens_on_the_address_in_host(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    bind = configuration(monkeypatch, HOST=host, PORT="8123")["bind"]
    assert parse_address(bind) == (host, 8123)


def test_idle_connections_outlast_those_of_a_balancer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEEP_ALIVE_S", raising=False)
    assert configuration(monkeypatch)["keepalive"] > 60  # what most balancers have
    assert configuration(monkeypatch, KEEP_ALIVE_S="400")["keepalive"] == 400
