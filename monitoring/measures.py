"""Counters, histograms and gauges, whose numbers are added up over the processes of a program.

Guarantees that measuring never raises, and that no metric has more than a bounded number of
series, whatever is given as labels.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from prometheus_client.mmap_dict import mmap_key
from prometheus_client.utils import floatToGoString

from monitoring.metric_store import Store, Value

MAX_SERIES: Final = 500
OTHER: Final = "other"

STORE: Final = Store()
"""The values of this process."""

Series = TypeVar("Series")


class _Metric(Generic[Series]):
    """A name, and a series for each combination of labels that was met."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.labels = tuple(labels)
        self._help = help_text
        self._series: dict[tuple[str, ...], Series] = {}

    def _of(self, labels: tuple[str, ...]) -> Series:
        found = self._series.get(labels)
        if found is None:
            if len(self._series) >= MAX_SERIES:
                labels = (OTHER,) * len(labels)
            # Two threads at once may make it twice, and both write to the same place.
            found = self._series.setdefault(labels, self._make(labels))
        return found

    def _make(self, labels: tuple[str, ...]) -> Series:
        raise NotImplementedError


class Counter(_Metric[Value]):
    """Counts what happened; its name ends in _total."""

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count. labels: a value for each, in their order."""
        STORE.add(self._of(labels), amount)

    def _make(self, labels: tuple[str, ...]) -> Value:
        metric = self.name.removesuffix("_total")
        return STORE.new(
            "counter", mmap_key(metric, self.name, list(self.labels), list(labels), self._help)
        )


class Gauge(_Metric[Value]):
    """Says how something is, in each process that lives; the label `pid` tells which."""

    def set(self, number: float, *labels: str) -> None:
        """Say how it is now."""
        STORE.set(self._of(labels), number)

    def _make(self, labels: tuple[str, ...]) -> Value:
        return STORE.new(
            "gauge_liveall",
            mmap_key(self.name, self.name, list(self.labels), list(labels), self._help),
        )


class Histogram(_Metric[tuple[Value, tuple[Value, ...]]]):
    """Sums up sizes, and counts how many were up to each of some bounds."""

    def __init__(
        self, name: str, help_text: str, labels: Sequence[str] = (), *, bounds: Sequence[float]
    ) -> None:
        super().__init__(name, help_text, labels)
        self._bounds = (*bounds, float("inf"))

    def observe(self, size: float, *labels: str) -> None:
        """Take one size into account."""
        total, buckets = self._of(labels)
        STORE.add(buckets[bisect_left(self._bounds, size)], 1)
        STORE.add(total, size)

    def _make(self, labels: tuple[str, ...]) -> tuple[Value, tuple[Value, ...]]:
        def value(suffix: str, names: tuple[str, ...], values: tuple[str, ...]) -> Value:
            key = mmap_key(self.name, self.name + suffix, list(names), list(values), self._help)
            return STORE.new("histogram", key)

        buckets = tuple(
            value("_bucket", (*self.labels, "le"), (*labels, _written(bound)))
            for bound in self._bounds
        )
        return value("_sum", self.labels, labels), buckets


def _written(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]
