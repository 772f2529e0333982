"""Limits how many series a metric may have, whatever is given as labels.

Guarantees that a fork cannot leave a metric locked: `prometheus_client` holds a lock while it
makes a series, and a child that is forked meanwhile would wait for that lock without end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

MAX_SERIES: Final = 500
OTHER: Final = "other"

_MAKING: Final = threading.RLock()
"""Held while a series is made, and during a fork."""
os.register_at_fork(
    before=_MAKING.acquire,
    after_in_parent=_MAKING.release,
    after_in_child=_MAKING.release,
)

Labelled = TypeVar("Labelled", Counter, Gauge, Histogram)


class Limited(Generic[Labelled]):
    """A metric with labels that has at most MAX_SERIES series, and one more for all others.

    It also remembers its series, since looking one up in `prometheus_client` takes a lock.
    """

    def __init__(
        self,
        kind: type[Labelled],
        name: str,
        help_text: str,
        labels: Sequence[str],
        **options: Any,
    ) -> None:
        """Take what `kind` takes. The metric is in no registry: it is read from the files."""
        self._metric: Labelled = kind(name, help_text, labels, registry=None, **options)
        self._series: dict[tuple[str, ...], Labelled] = {}

    def labels(self, *values: str) -> Labelled:
        """Return the series with these labels, or the one whose labels are all `other`.

        values: one for each label of the metric, in their order.
        """
        found = self._series.get(values)
        if found is not None:
            return found
        with _MAKING:
            if values not in self._series and len(self._series) >= MAX_SERIES:
                values = (OTHER,) * len(values)
            if values not in self._series:
                self._series[values] = self._metric.labels(*values)
            return self._series[values]
