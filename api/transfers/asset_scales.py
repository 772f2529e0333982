"""How many decimals each asset has, remembered because it never changes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from api.auth.outage_cache import OutageCache
from ledger.errors import InvalidField, Unavailable

LOOK_AGAIN_AFTER_S = 1.0


class AssetScales:
    """Looks scales up, and asks the database only for assets it has not heard of."""

    def __init__(
        self,
        load: Callable[[], dict[str, int]],
        last_known: OutageCache,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take how to ask the database, and what to go by while that is away."""
        self._load = load
        self._last_known = last_known
        self._clock = clock
        self._asked_at_s = float("-inf")
        self._failure: Unavailable | None = None
        self._scales: dict[str, int] = {}

    def of(self, asset: str) -> int:
        """Return the number of decimals.

        Raises: InvalidField: when there is no such asset, as of about a second ago.
        Unavailable: when the asset is not known here and the database is away.
        """
        if asset not in self._scales:
            self._refresh(asset)
        if asset not in self._scales:
            raise InvalidField("/asset", "is not an asset that exists")
        return self._scales[asset]

    def prepare(self) -> None:
        """Look them up while the database is there, unless they are known: it may go away.

        Raises: Unavailable: when it has gone away already.
        """
        if not self._scales:
            self._load_all()

    def _refresh(self, asset: str) -> None:
        # Bounded, or a batch of 5,000 made-up assets would ask 5,000 times.
        if self._clock() - self._asked_at_s < LOOK_AGAIN_AFTER_S:
            if self._failure is not None:
                raise self._failure
            return
        try:
            self._load_all()
        except Unavailable:
            kept = self._last_known.recall(_NAME)
            if kept is None or asset not in json.loads(kept):
                raise
            self._scales = json.loads(kept)

    def _load_all(self) -> None:
        try:
            self._scales = self._load()
        except Unavailable as error:
            self._failure = error
            raise
        else:
            self._failure = None
            self._last_known.remember(_NAME, json.dumps(self._scales))
        finally:  # after the answer, which may take longer than the pause
            self._asked_at_s = self._clock()


_NAME = "scales"
