"""When a broker counts as overloaded."""

from __future__ import annotations

import pytest

from tasks.pressure import decide


@pytest.mark.parametrize(
    ("share", "before", "overloaded"),
    [
        (0.00, False, False),
        (0.84, False, False),
        (0.85, False, True),
        (1.00, False, True),
        (1.00, True, True),
        (0.84, True, True),  # it has to fall further than it rose, ...
        (0.80, True, True),
        (0.79, True, False),  # ... and then to rise further again
        (None, False, False),
        (None, True, False),  # a broker that is away is not a full one
    ],
)
def test_it_is_overloaded_from_85_percent_on_until_it_is_below_80(
    share: float | None, before: bool, overloaded: bool
) -> None:
    assert decide(share, before=before) is overloaded
