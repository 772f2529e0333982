"""Asset scales: the number of decimals of each asset, remembered because it never changes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from api.auth.outage_cache import OutageCache
from ledger.errors import InvalidField, Unavailable

ScaleOf = Callable[[str], int]
"""Returns the number of decimals of an asset, within one request.

Raises: InvalidField: when there was no such asset when the request arrived.
Unavailable: when this process does not know the asset and the database is away.
"""


class AssetScales:
    """Looks up scales. Asks the database only for assets that it does not know yet."""

    def __init__(
        self,
        load: Callable[[], dict[str, int]],
        outage_cache: OutageCache,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an empty one. load: reads all scales from the database, by asset."""
        self._load = load
        self._outage_cache = outage_cache
        self._clock = clock
        self._asked_at_s = float("-inf")
        self._failure: Unavailable | None = None
        self._scales: dict[str, int] = {}

    def for_request(self) -> ScaleOf:
        """Return the look-up of a request that arrives now.

        It asks the database once at most: a batch may have 5,000 made-up assets.
        """
        arrived_at_s = self._clock()

        def scale_of(asset: str) -> int:
            if asset not in self._scales:
                self._refresh(asset, since_s=arrived_at_s)
            if asset not in self._scales:
                raise InvalidField("/asset", "is not an asset that exists")
            return self._scales[asset]

        return scale_of

    def prepare(self) -> None:
        """Load the scales, unless they are loaded: the database may go away later.

        Raises: Unavailable: when the database is away already.
        """
        if not self._scales:
            self._load_all()

    def _refresh(self, asset: str, *, since_s: float) -> None:
        if self._asked_at_s >= since_s:
            if self._failure is not None:
                raise self._failure
            return
        try:
            self._load_all()
        except Unavailable:
            kept = self._outage_cache.recall(_NAME)
            if kept is None or asset not in json.loads(kept):
                raise
            self._scales = json.loads(kept)

    def _load_all(self) -> None:
        asked_at_s = self._clock()
        try:
            self._scales = self._load()
        except Unavailable as error:
            self._failure = error
            raise
        else:
            self._failure = None
            self._outage_cache.remember(_NAME, json.dumps(self._scales))
        finally:
            self._asked_at_s = asked_at_s


_NAME = "scales"
