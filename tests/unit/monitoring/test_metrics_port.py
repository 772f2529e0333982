"""Metrics port of programs without HTTP: connections there use a bounded number of threads."""

from __future__ import annotations

import select
import socket
import threading
import time
from pathlib import Path
from urllib.request import urlopen

from monitoring.metrics.port import MAX_CONNECTIONS, serve
from stack.servers.ports import free_port

PATIENCE_S = 20.0


def test_silent_connections_use_a_bounded_number_of_threads(
    tmp_path: Path,
) -> None:
    port, before = free_port(), threading.active_count()
    serve(tmp_path, port, request_within_s=4.0)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(2 * MAX_CONNECTIONS)]
    most, deadline_s = 0, time.monotonic() + PATIENCE_S
    # Until each connection was refused or has timed out.
    while len(select.select(silent, [], [], 0.02)[0]) < len(silent):
        most = max(most, threading.active_count())
        assert time.monotonic() < deadline_s
    for each in silent:
        each.close()
    assert before + 1 < most <= before + 1 + MAX_CONNECTIONS
    url = f"http://127.0.0.1:{port}/metrics"
    with urlopen(url, timeout=PATIENCE_S) as answer:
        assert answer.status == 200
