"""Fixtures of unit tests: none of them may start a server, so that `make unit` takes seconds."""

from __future__ import annotations

from typing import NoReturn

import pytest


@pytest.fixture(scope="session")
def servers_folder() -> NoReturn:
    """Fail any test that asks for a server: all servers keep their data in this folder."""
    pytest.fail("tests/unit starts no server: a test that needs one belongs into another folder")
