"""Cardinality limit: caps the number of series of a metric, whatever its labels.

Guarantees that a fork cannot leave a metric locked: `prometheus_client` holds a lock while it
creates a series, and a child forked at that moment would wait for the lock without end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

MAX_SERIES: Final = 500
OTHER: Final = "other"

_CREATING: Final = threading.RLock()
"""Held while a series is created, and during a fork."""
os.register_at_fork(
    before=_CREATING.acquire,
    after_in_parent=_CREATING.release,
    after_in_child=_CREATING.release,
)

Labelled = TypeVar("Labelled", Counter, Gauge, Histogram)


class Limited(Generic[Labelled]):
    """A metric with labels that has at most MAX_SERIES series, and one more for all others.

    It keeps its series, since a look-up in `prometheus_client` takes a lock.
    """

    def __init__(
        self,
        kind: type[Labelled],
        name: str,
        help_text: str,
        labels: Sequence[str],
        **options: Any,
    ) -> None:
        """Take the arguments of `kind`. The metric is in no registry: it is read from the files."""
        self._metric: Labelled = kind(name, help_text, labels, registry=None, **options)
        self._series: dict[tuple[str, ...], Labelled] = {}

    def labels(self, *values: str) -> Labelled:
        """Return the series with these labels, or the one whose labels are all `other`.

        values: one for each label of the metric, in their order.
        """
        found = self._series.get(values)
        if found is not None:
            return found
        with _CREATING:
            if values not in self._series and len(self._series) >= MAX_SERIES:
                values = (OTHER,) * len(values)
            if values not in self._series:
                self._series[values] = self._metric.labels(*values)
            return self._series[values]
