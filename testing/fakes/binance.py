"""Fake Binance: real HTTP, with faults on command, for tests and for machines without internet.

    python -m testing.fakes.binance --port 9999

`GET /api/v3/ticker/bookTicker` answers as Binance does. Commands come over HTTP too:

    PUT    /control/fault     {"kind": "status", "status": 429, "retry_after": "7"}
    DELETE /control/fault     back to normal answers
    PUT    /control/prices    {"BTCUSDT": ["64000.00", "64000.02"]}
    GET    /control/requests  the symbols of each request for prices so far

The kinds of fault are the functions of FAULTS.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

Headers = Mapping[str, str]

PATH = "/api/v3/ticker/bookTicker"
PRICES = {
    "BTCUSDT": ("64250.01", "64250.02"),
    "ETHUSDT": ("2650.10", "2650.20"),
    "BNBUSDT": ("610.00", "610.10"),
    "EURUSDT": ("1.0850", "1.0851"),
}
INVALID_SYMBOL = {"code": -1121, "msg": "Invalid symbol."}
_HANGS_FOR_S = 60.0
_TRICKLE_EVERY_S = 0.2


@dataclass
class State:
    """What it answers now, and which requests it has received."""

    prices: dict[str, tuple[str, str]] = field(default_factory=lambda: dict(PRICES))
    fault: dict[str, Any] = field(default_factory=lambda: {"kind": "none"})
    asked: deque[list[str]] = field(default_factory=lambda: deque(maxlen=10_000))
    healed: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        state = self.server.state
        url = urlsplit(self.path)
        if url.path == "/control/requests":
            self.answer(200, list(state.asked))
        elif url.path == PATH:
            symbols = json.loads(parse_qs(url.query)["symbols"][0])
            state.asked.append(symbols)
            FAULTS[state.fault["kind"]](self, symbols, state.fault)
        else:
            self.answer(404, {"msg": "no such path"})

    def do_PUT(self) -> None:
        state = self.server.state
        command = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/control/prices":
            state.prices.update({symbol: tuple(pair) for symbol, pair in command.items()})
        elif self.path == "/control/fault" and command.get("kind") in FAULTS:
            state.healed.clear()
            state.fault = command
        else:
            self.answer(400, {"msg": f"no such command: {command}"})
            return
        self.answer(200, {})

    def do_DELETE(self) -> None:
        self.server.state.fault = {"kind": "none"}
        self.server.state.healed.set()
        self.answer(200, {})

    def answer(self, status: int, document: object, headers: Headers | None = None) -> None:
        self.send(status, json.dumps(document).encode(), headers=headers)

    def send(
        self,
        status: int,
        body: bytes,
        *,
        length: int | None = None,
        headers: Headers | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def tickers(self, symbols: list[str], *, weight: int = 4) -> None:
        """Answer as Binance does: all symbols, or an error when one is unknown."""
        prices = self.server.state.prices
        headers = {"X-MBX-USED-WEIGHT-1M": str(weight)}
        if any(symbol not in prices for symbol in symbols):
            self.answer(400, INVALID_SYMBOL, headers)
            return
        self.answer(200, [_ticker(symbol, *prices[symbol]) for symbol in symbols], headers)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


class Server(ThreadingHTTPServer):
    """Listens as soon as it is made; port 0 means a free one."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.state = State()

    def handle_error(self, *_: Any) -> None:
        """Print nothing: clients that were kept waiting hang up."""


def _ticker(symbol: str, bid: str, ask: str) -> dict[str, str]:
    return {"symbol": symbol, "bidPrice": bid, "bidQty": "1.0", "askPrice": ask, "askQty": "1.0"}


def _none(handler: Handler, symbols: list[str], _: dict[str, Any]) -> None:
    handler.tickers(symbols)


def _status(handler: Handler, _: list[str], fault: dict[str, Any]) -> None:
    """{"status": 429, "retry_after": "7", "code": -1003}: any status; the others are optional."""
    headers = {"Retry-After": fault["retry_after"]} if "retry_after" in fault else {}
    handler.answer(fault["status"], {"code": fault.get("code", -1003), "msg": "no"}, headers)


def _weight(handler: Handler, symbols: list[str], fault: dict[str, Any]) -> None:
    """{"weight": 3000}: good prices, with a high used weight."""
    handler.tickers(symbols, weight=fault["weight"])


def _missing(handler: Handler, symbols: list[str], fault: dict[str, Any]) -> None:
    """{"symbol": "BTCUSDT"}: missing from an otherwise correct answer."""
    handler.tickers([symbol for symbol in symbols if symbol != fault["symbol"]])


def _document(handler: Handler, _: list[str], fault: dict[str, Any]) -> None:
    """{"document": ...}: JSON of another shape."""
    handler.answer(200, fault["document"])


def _bytes(handler: Handler, _: list[str], fault: dict[str, Any]) -> None:
    """{"bytes": "00ff"}: these bytes, in hexadecimal, instead of JSON."""
    handler.send(200, bytes.fromhex(fault["bytes"]))


def _large(handler: Handler, _: list[str], fault: dict[str, Any]) -> None:
    """{"size": 1000000}: JSON that contains this many spaces."""
    handler.send(200, b"[" + b" " * fault["size"] + b"]")


def _short(handler: Handler, _: list[str], __: dict[str, Any]) -> None:
    """The connection ends in the middle of the body."""
    handler.send(200, b"[", length=1000)
    handler.close_connection = True


def _hang(handler: Handler, _: list[str], __: dict[str, Any]) -> None:
    """No answer until the fault is cleared."""
    handler.server.state.healed.wait(_HANGS_FOR_S)
    handler.close_connection = True


def _slow(handler: Handler, symbols: list[str], fault: dict[str, Any]) -> None:
    """{"seconds": 0.5}: a good answer, that much later."""
    handler.server.state.healed.wait(fault["seconds"])
    handler.tickers(symbols)


def _trickle(handler: Handler, _: list[str], fault: dict[str, Any]) -> None:
    """{"part": "head" | "body"}: a byte now and then, without end."""
    if fault["part"] == "head":
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    else:
        handler.send(200, b"[", length=100_000)
    ends_s = time.monotonic() + _HANGS_FOR_S
    while not handler.server.state.healed.wait(_TRICKLE_EVERY_S) and time.monotonic() < ends_s:
        handler.wfile.write(b" ")  # raises when the client has hung up
    handler.close_connection = True


FAULTS: dict[str, Callable[[Handler, list[str], dict[str, Any]], None]] = {
    "none": _none,
    "status": _status,
    "weight": _weight,
    "missing": _missing,
    "document": _document,
    "bytes": _bytes,
    "large": _large,
    "short": _short,
    "hang": _hang,
    "slow": _slow,
    "trickle": _trickle,
}


class FakeBinance:
    """The handle by which a test controls a fake Binance, over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fault(self, kind: str, **details: object) -> None:
        self._command("PUT", "fault", {"kind": kind, **details})

    def heal(self) -> None:
        self._command("DELETE", "fault")

    def price(self, symbol: str, bid: str, ask: str | None = None) -> None:
        self._command("PUT", "prices", {symbol: [bid, bid if ask is None else ask]})

    def asked(self) -> list[list[str]]:
        """Return the symbols of each request for prices, oldest first."""
        asked: list[list[str]] = self._command("GET", "requests").json()
        return asked

    def _command(self, method: str, name: str, body: object = None) -> requests.Response:
        answer = requests.request(method, f"{self.url}/control/{name}", json=body, timeout=10)
        answer.raise_for_status()
        return answer


@contextmanager
def fake_binance() -> Iterator[FakeBinance]:
    """Serve in a thread of this process, on a free port."""
    server = Server(port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield FakeBinance(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.state.healed.set()
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="A Binance with faults on command.")
    parser.add_argument("--port", type=int, required=True)
    Server(parser.parse_args().port).serve_forever()


if __name__ == "__main__":
    main()
