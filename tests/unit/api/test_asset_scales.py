"""Asset scales: cached lookups of the scale of an asset, without a database."""

from __future__ import annotations

import pytest

from api.transfers.asset_scales import AssetScales
from ledger.errors import InvalidField, Unavailable
from testing.fakes.known_keys import NOTHING_KNOWN
from testing.manual_clock import ManualClock


def test_a_new_asset_is_found_at_once_and_unknown_ones_are_looked_up_once_a_request() -> None:
    clock, loads = ManualClock(), [{"USD": 2}, {"USD": 2}, {"USD": 2, "CHF": 3}]
    scales = AssetScales(lambda: loads.pop(0), NOTHING_KNOWN, clock=clock)
    assert scales.for_request()("USD") == 2
    clock.now_s += 0.001
    of_one_request = scales.for_request()
    for _ in range(5_000):
        with pytest.raises(InvalidField):
            of_one_request("CHF")
    assert len(loads) == 1
    clock.now_s += 0.001
    assert scales.for_request()("CHF") == 3
    assert scales.for_request()("CHF") == 3
    assert not loads


def test_an_asset_made_while_another_request_was_loading_is_found() -> None:
    clock, made = ManualClock(), {"USD": 2}

    def load() -> dict[str, int]:
        found = dict(made)
        clock.now_s += 1  # another process makes an asset before this answer is here
        made["CHF"] = 3
        return found

    scales = AssetScales(load, NOTHING_KNOWN, clock=clock)
    scales.prepare()
    assert scales.for_request()("CHF") == 3


def test_a_database_that_fails_is_not_asked_for_each_item_of_a_batch() -> None:
    asked = []

    def load() -> dict[str, int]:
        asked.append(1)
        raise Unavailable

    scale_of = AssetScales(load, NOTHING_KNOWN, clock=ManualClock()).for_request()
    for _ in range(5_000):
        with pytest.raises(Unavailable):
            scale_of("USD")
    assert len(asked) == 1
