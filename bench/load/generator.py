"""Load generator: sends requests over keep-alive connections, with little work for each.

It is a program of its own, so that its interpreter shares nothing with what it measures: it reads
a plan (`bench.load.plan`) as JSON and prints the result as JSON. Standard library only.
"""

from __future__ import annotations

import gc
import json
import random
import select
import socket
import sys
import time
from array import array
from collections import Counter
from typing import Any

_LOOPBACK = "127.0.0.1"
_ANSWER_WITHIN_S = 60.0
_SEND_BUFFER_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Requests:
    """Makes requests: the bytes of one differ from the next in wallets and keys alone."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._pairs = [
            (f'"source":"{source}","destination":"{destination}","asset":"USD","amount":"0.01"')
            for source in plan["wallets"]
            for destination in random.sample(plan["wallets"], min(10, len(plan["wallets"])))
            if source != destination
        ]
        self._prefix, self._batch = plan["prefix"], plan["batch"]
        self._sent = 0
        path = "/v1/transfers/batch" if self._batch > 1 else "/v1/transfers"
        prefer = f"Prefer: wait={plan['wait_s']}\r\n" if plan["wait_s"] else ""
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {_LOOPBACK}:{plan['port']}\r\n"
            f"Authorization: Bearer {plan['api_key']}\r\n"
            f"Content-Type: application/json\r\n{prefer}"
        )

    def next(self) -> bytes:
        """Return the next request, whole."""
        if self._batch == 1:
            body = f"{{{random.choice(self._pairs)}}}"
            key = f"Idempotency-Key: {self._prefix}-{self._number()}\r\n"
        else:
            items = (
                f'{{"idempotency_key":"{self._prefix}-{self._number()}",{pair}}}'
                for pair in random.choices(self._pairs, k=self._batch)
            )
            body, key = f'{{"transfers":[{",".join(items)}]}}', ""
        return f"{self._head}{key}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    def _number(self) -> int:
        self._sent += 1
        return self._sent


class Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((_LOOPBACK, port), timeout=_ANSWER_WITHIN_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._received = b""
        self._needed = 0
        self.sent_s = 0.0

    def send(self, request: bytes) -> None:
        self.sent_s = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Read what has come. Returns: the whole answer, or None while a part is missing.

        Raises: ConnectionError: when the server has closed the connection.
        """
        part = self.socket.recv(_READ_BYTES)
        if not part:
            raise ConnectionError("the API closed a connection")
        self._received += part
        if not self._needed:
            head, separator, _ = self._received.partition(_HEAD_END)
            if not separator:
                return None
            length = head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]
            self._needed = len(head) + len(_HEAD_END) + int(length)
        if len(self._received) < self._needed:
            return None
        answer, self._received, self._needed = self._received, b"", 0
        return answer


class Load:
    """Runs one plan. It ends once every connection has had an answer after the plan's time."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._requests = Requests(plan)
        self._batch, self._every_s = plan["batch"], plan["every_s"]
        self._seconds = plan["seconds"]
        self._poll = select.epoll()
        self._connections: dict[int, Connection] = {}
        for _ in range(plan["connections"]):
            connection = Connection(plan["port"])
            self._connections[connection.socket.fileno()] = connection
            self._poll.register(connection.socket, select.EPOLLIN)
        self._took_s, self._statuses, self._accepted = array("d"), Counter[str](), 0

    def run(self) -> dict[str, Any]:
        """Send requests, and wait for all answers. Returns: the result, see `LoadResult`."""
        began_s = time.perf_counter()
        ends_s, busy = began_s + self._seconds, len(self._connections)
        for connection in self._connections.values():
            connection.send(self._requests.next())
        while busy:
            ready = self._poll.poll(_ANSWER_WITHIN_S)
            if not ready:
                raise TimeoutError(f"no answer within {_ANSWER_WITHIN_S:g} s")
            for descriptor, _ in ready:
                connection = self._connections[descriptor]
                answer = connection.receive()
                if answer is None:
                    continue
                self._count(answer, time.perf_counter() - connection.sent_s)
                if time.perf_counter() >= ends_s:
                    busy -= 1
                    continue
                if self._every_s:
                    time.sleep(self._every_s * random.uniform(0.5, 1.5))
                connection.send(self._requests.next())
        in_order = sorted(self._took_s)
        return {
            "seconds": time.perf_counter() - began_s,
            "accepted": self._accepted,
            "statuses": dict(self._statuses),
            "p50_ms": in_order[len(in_order) // 2] * 1000,
            "p99_ms": in_order[int(len(in_order) * 0.99)] * 1000,
            "cpu_s": time.process_time(),
        }

    def _count(self, answer: bytes, took_s: float) -> None:
        self._took_s.append(took_s)
        self._statuses[answer[9:12].decode()] += 1
        if answer[9:10] == b"2":
            self._accepted += 1 if self._batch == 1 else answer.count(b'"id"')


if __name__ == "__main__":
    gc.disable()  # nothing here has cycles
    json.dump(Load(json.load(sys.stdin)).run(), sys.stdout)
