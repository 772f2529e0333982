"""Fixtures of key tests: an empty register, and one that the tests of a module share."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from testing.bank import Bank
from tests.integration.keys.register import Register


@pytest.fixture
def register(engine: Engine) -> Register:
    """Return a register without clients, on a database of its own."""
    return Register(engine)


@pytest.fixture(scope="module")
def shared_register(shared_bank: Bank) -> Register:
    """Return a register that has an active admin."""
    return Register(shared_bank.engine)
