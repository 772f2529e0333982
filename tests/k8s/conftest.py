"""A test that takes `each` is about every deployment there is."""

from __future__ import annotations

import pytest

from settings import Settings
from tests.k8s.stacks import STACKS, Stack, stack


@pytest.fixture(params=STACKS)
def each(request: pytest.FixtureRequest) -> Stack:
    return stack(request.param)


@pytest.fixture(scope="session")
def settings() -> Settings:
    """Settings that lead nowhere."""
    return Settings.from_environment(
        {
            "DATABASE_URL": "postgresql://nowhere",
            "BROKER_URL": "redis://nowhere",
            "CACHE_URL": "redis://nowhere",
        }
    )
