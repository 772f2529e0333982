"""Storms: tests that last minutes, and run only when they are asked for (`make storms`)."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--storms", action="store_true", help="run the tests marked as storms as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave them out unless they are asked for."""
    if not config.getoption("storms"):
        left_out = [item for item in items if item.get_closest_marker("storm")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
