"""Server address: the address and port on which gunicorn listens."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from gunicorn.util import parse_address

from tests.unit.settings.test_settings import URLS

CONFIG = Path(__file__).parents[3] / "api" / "gunicorn.conf.py"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "::"])
def test_it_listens_on_the_address_in_host(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    for name, value in (URLS | {"HOST": host, "PORT": "8123"}).items():
        monkeypatch.setenv(name, value)
    assert parse_address(runpy.run_path(str(CONFIG))["bind"]) == (host, 8123)
