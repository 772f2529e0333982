"""Request metrics: measure every request by its route's template.

Guarantees that a label never holds text that a client wrote.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Final

from flask import Flask, Response, request

from monitoring.metrics.catalogue import REQUEST_SECONDS

_BEGAN: Final = "truepenny.began_at_s"
_NO_ROUTE: Final = "unmatched"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ARGUMENT: Final = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


def measure_requests(app: Flask) -> None:
    """Measure each request. Call it before all other registrations, to include their time."""
    app.before_request(_begin)
    app.after_request(_end)  # Flask calls these in reverse order: this one comes last


def _begin() -> None:
    request.environ[_BEGAN] = time.perf_counter()


def _end(response: Response) -> Response:
    took_s = time.perf_counter() - request.environ[_BEGAN]
    rule = request.url_rule
    REQUEST_SECONDS.labels(
        _NO_ROUTE if rule is None else template(rule.rule),
        request.method if request.method in METHODS else "other",
        f"{response.status_code // 100}xx",
        "yes" if "Prefer" in request.headers else "no",
    ).observe(took_s)
    return response


@lru_cache(maxsize=1024)
def template(rule: str) -> str:
    """Write a rule as the OpenAPI document does: with {name} for each argument."""
    return _ARGUMENT.sub(r"{\1}", rule)
