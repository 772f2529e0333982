"""Metrics port: serves the metrics of a program that has no HTTP server of its own.

Guarantees that the program is not disturbed: a port that cannot be opened is one line in the log,
and clients that hang use a few threads of this process, however many connect.
"""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from monitoring.logs import get_logger
from monitoring.metrics.exposition import measured, page

REQUEST_WITHIN_S: Final = 5.0
MAX_CONNECTIONS: Final = 16
"""Each uses a thread of the parent process, on which the whole program depends."""

log = get_logger(__name__)


def serve(folder: Path, port: int, *, request_within_s: float = REQUEST_WITHIN_S) -> None:
    """Serve /metrics of the program with this folder, until this process ends.

    request_within_s: how long a client may take to send its request.
    Never raises. Children that are forked later do not keep the port.
    """
    try:
        server = _Server(("", port), _handler(folder, request_within_s))
    except OSError as error:
        log.error("metrics_port_not_open", port=port, reason=error.strerror)
        return
    os.register_at_fork(after_in_child=server.socket.close)
    thread = threading.Thread(target=server.serve_forever, name="metrics-port", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        server.server_close()
        log.error("metrics_port_not_open", port=port, reason=str(error))


class _Server(ThreadingHTTPServer):
    """Serves at most MAX_CONNECTIONS at once, and logs no error for a client that disconnected."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        log.debug("metrics_not_sent", client=str(client_address))


def _handler(folder: Path, request_within_s: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = request_within_s

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            printed = page(measured([folder]), accept=self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", printed.content_type)
            self.send_header("Content-Length", str(len(printed.content)))
            self.end_headers()
            self.wfile.write(printed.content)

        def log_message(self, *_: object) -> None:
            """Log nothing: a line for each scrape has no use."""

    return Handler
