"""Parts: where the time of a transfer goes, as the application measures it for `/metrics`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import requests

from bench.target.running_stack import RunningStack

_SAMPLE = re.compile(r'^truepenny_part_seconds_(count|sum)\{part="(\w+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class PartTime:
    """One part of the way. times: how often a transfer needed it. mean_ms: of each time."""

    times: float
    mean_ms: float


def read_parts(stack: RunningStack) -> dict[str, tuple[float, float]]:
    """Return the count and the sum in seconds of each part. Empty for a version without parts."""
    page = requests.get(f"{stack.admin.url}/metrics", timeout=10).text
    found: dict[str, dict[str, float]] = {}
    for kind, part, number in _SAMPLE.findall(page):
        found.setdefault(part, {})[kind] = float(number)
    return {part: (each["count"], each["sum"]) for part, each in found.items()}


def parts_between(
    before: Mapping[str, tuple[float, float]],
    after: Mapping[str, tuple[float, float]],
    *,
    transfers: int,
) -> dict[str, PartTime]:
    """Return the parts that were measured between two readings, for each of the transfers."""
    parts = {}
    for part, (count, sum_s) in after.items():
        earlier_count, earlier_s = before.get(part, (0.0, 0.0))
        if (times := count - earlier_count) > 0 and transfers:
            mean_ms = (sum_s - earlier_s) / times * 1000
            parts[part] = PartTime(times / transfers, mean_ms)
    return parts
