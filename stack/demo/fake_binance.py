"""A Binance that is none, for machines without internet: `BINANCE_URLS=fake make up`.

A program of its own that answers over real HTTP and fails on command: `testing.fakes.binance`.
Only the stack knows the word: the application is given an address like any other.
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
_MADE_UP = {"KEEP_PRICES": "no"}
"""Or a later start with the real Binance would take them for the last that were known."""


def wants_fake(environment: Mapping[str, str]) -> bool:
    """Whether a fake Binance is asked for."""
    return environment.get(_SETTING, "").strip().lower() == "fake"


def with_url(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """The environment as the application is given it."""
    return {**environment, **_MADE_UP, _SETTING: f"http://{LOOPBACK}:{port}"}


def choose_port(kept_values: KeptValues) -> int:
    """The port it listens on, the same at every start."""
    return kept_port(kept_values, NAME)


def program(port: int, *, run: Path) -> Program:
    """The fake as an entry of the table of processes."""
    command = (sys.executable, "-m", "testing.fakes.binance", "--port", str(port))
    return Program(NAME, launch_command(command, "--pace", str(run / f"{NAME}.pace")))
