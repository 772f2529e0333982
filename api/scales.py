"""How many decimals each asset has, remembered per process because it never changes."""

from __future__ import annotations

import time
from collections.abc import Callable

from ledger.errors import InvalidField

LOOK_AGAIN_AFTER_S = 1.0


class Scales:
    """Looks scales up, and asks the database only for assets it has not heard of."""

    def __init__(
        self, load: Callable[[], dict[str, int]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._clock = clock
        self._loaded_at_s = float("-inf")
        self._scales: dict[str, int] = {}

    def of(self, asset: str) -> int:
        """Return the number of decimals.

        Raises: InvalidField: when there is no such asset, as of about a second ago.
        Unavailable: when the database is needed and does not answer.
        """
        scale = self._scales.get(asset)
        if scale is None:
            self._refresh()
            scale = self._scales.get(asset)
        if scale is None:
            raise InvalidField("/asset", "is not an asset that exists")
        return scale

    def _refresh(self) -> None:
        # Bounded, or a batch of 5,000 made-up assets would ask 5,000 times.
        if self._clock() - self._loaded_at_s >= LOOK_AGAIN_AFTER_S:
            self._scales = self._load()
            self._loaded_at_s = self._clock()
