"""Reconciliation task without a database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monitoring.sentry import check_ins
from tasks.engine import forget_engine
from tasks.reconciliation import reconcile
from tests.unit.runtime.test_entrypoint import URLS


@pytest.fixture(autouse=True)
def nothing_answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in URLS.items():
        monkeypatch.setenv(name, value)
    forget_engine()
    yield
    forget_engine()


def test_a_scan_that_the_database_interrupts_is_no_success_and_no_error() -> None:
    check_ins.begin()
    reconcile()
    assert not check_ins._did_all
