"""Fixtures of Kubernetes tests: `each` runs a test once for every tested deployment."""

from __future__ import annotations

import pytest

from tests.k8s.stacks import STACKS, Stack, stack


@pytest.fixture(params=STACKS)
def each(request: pytest.FixtureRequest) -> Stack:
    return stack(request.param)
