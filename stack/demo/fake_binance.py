"""Fake Binance, for machines without internet: `BINANCE_URLS=fake make up`.

It is a separate program that answers over HTTP and fails on command: `testing.fakes.binance`.
Only the stack knows the value `fake`; the application gets a URL like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from stack.processes.programs import Program
from stack.servers.kept_values import KeptValues
from stack.servers.own import kept_port
from stack.servers.ports import LOOPBACK
from stack.servers.server import launch_command

NAME = "binance"
_SETTING = "BINANCE_URLS"
_KEEP_NOTHING = {"KEEP_PRICES": "no"}
"""Otherwise a later start with the real Binance would use fake prices as the last known ones."""


def wants_fake(environment: Mapping[str, str]) -> bool:
    """Return whether BINANCE_URLS asks for the fake."""
    return environment.get(_SETTING, "").strip().lower() == "fake"


def with_url(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """Return the environment of the application, with the fake's URL."""
    return {**environment, **_KEEP_NOTHING, _SETTING: f"http://{LOOPBACK}:{port}"}


def choose_port(kept_values: KeptValues) -> int:
    """Return the fake's port, the same at every start."""
    return kept_port(kept_values, NAME)


def program(port: int, *, run: Path) -> Program:
    """Return the fake as an entry of the table of programs."""
    command = (sys.executable, "-m", "testing.fakes.binance", "--port", str(port))
    return Program(NAME, launch_command(command, "--pace", str(run / f"{NAME}.pace")))
