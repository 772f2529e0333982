"""Outage log: how often a repeated failure is logged, and its end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from monitoring.logs import get_logger, own_fields
from resilience.outage_log import OutageLog

LOG = get_logger("test")


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, object]]:
    # Threads of earlier tests may log at the same time.
    own = (each for each in caplog.records if each.name == "test")
    return [(each.levelname, each.getMessage(), own_fields(each)) for each in own]


def test_a_lasting_failure_is_one_line_when_it_begins_and_one_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = OutageLog(LOG, "away", "back", server="cache")
    outage.recovered()
    for error in ("refused", "timed out", "refused"):
        outage.failed(error=error)
    assert outage.failures == 3
    for _ in range(2):
        outage.recovered(took_s=7)
    outage.failed(error="refused")
    assert logged(caplog) == [
        ("WARNING", "away", {"server": "cache", "error": "refused"}),
        ("WARNING", "back", {"server": "cache", "took_s": 7}),
        ("WARNING", "away", {"server": "cache", "error": "refused"}),
    ]


def test_a_failure_that_should_stay_visible_is_logged_less_and_less(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = OutageLog(LOG, "away", repeats=True, count_as="times")
    for _ in range(100):
        outage.failed()
    outage.recovered()
    outage.failed()
    counts = [1, 2, 4, 8, 16, 32, 64, 1]
    assert logged(caplog) == [("WARNING", "away", {"times": times}) for times in counts]


def test_both_ends_have_a_level_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    for level, recovered_level in (("info", "warning"), ("warning", "info")):
        outage = OutageLog(LOG, "away", "back", level=level, recovered_level=recovered_level)  # type: ignore[arg-type]
        outage.failed()
        outage.recovered()
    assert [level for level, _, _ in logged(caplog)] == ["INFO", "WARNING", "WARNING", "INFO"]


def test_threads_that_fail_together_are_one_outage(caplog: pytest.LogCaptureFixture) -> None:
    outage = OutageLog(LOG, "away", "back")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: outage.failed(), range(1_000)))
        assert outage.failures == 1_000
        list(threads.map(lambda _: outage.recovered(), range(1_000)))
    assert [event for _, event, _ in logged(caplog)] == ["away", "back"]
