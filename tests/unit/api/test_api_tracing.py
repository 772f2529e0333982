"""Tracing of requests: names of traces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sentry_sdk.tracing import Transaction
from werkzeug.test import Client
from werkzeug.wrappers import Response

from api.ops.tracing import TracedRequests
from monitoring.sentry import tracing


@pytest.mark.parametrize(("method", "name"), [("POST", "POST nowhere"), ("ALICE", "other nowhere")])
def test_a_trace_name_contains_no_text_of_a_client(
    monkeypatch: pytest.MonkeyPatch, method: str, name: str
) -> None:
    transaction = Transaction()

    @contextmanager
    def begin(_: str, *, op: str) -> Iterator[Transaction]:
        assert op == "http.server"
        yield transaction

    monkeypatch.setattr(tracing, "begin", begin)
    Client(TracedRequests(Response(status=404))).open("/v1/alice", method=method)
    assert transaction.name == name
    assert transaction.to_json()["data"]["http.request.method"] == name.partition(" ")[0]
