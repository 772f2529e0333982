"""Asset scales: cached lookups of the scale of an asset, without a database."""

from __future__ import annotations

import pytest

from api.transfers.asset_scales import LOAD_AGAIN_AFTER_S, AssetScales
from ledger.errors import InvalidField, Unavailable
from testing.fakes.known_keys import NOTHING_KNOWN
from testing.manual_clock import ManualClock


def test_a_new_asset_is_found_and_an_unknown_one_looked_up_once_a_second() -> None:
    clock, loads = ManualClock(), [{"USD": 2}, {"USD": 2}, {"USD": 2, "CHF": 2}]
    scales = AssetScales(lambda: loads.pop(0), NOTHING_KNOWN, clock=clock)
    assert scales.of("USD") == 2
    for _ in range(5):
        with pytest.raises(InvalidField):
            scales.of("XXX")
    assert len(loads) == 2
    clock.now_s += LOAD_AGAIN_AFTER_S
    with pytest.raises(InvalidField):
        scales.of("CHF")
    clock.now_s += LOAD_AGAIN_AFTER_S
    assert scales.of("CHF") == 2


def test_a_database_that_fails_is_not_asked_for_each_item_of_a_batch() -> None:
    asked = []

    def load() -> dict[str, int]:
        asked.append(1)
        raise Unavailable

    scales = AssetScales(load, NOTHING_KNOWN, clock=ManualClock())
    for _ in range(5_000):
        with pytest.raises(Unavailable):
            scales.of("USD")
    assert len(asked) == 1
