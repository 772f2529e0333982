"""Large bodies: many at once stay within the memory of a container, and delay no small request."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psutil
import pytest

from api.http.strict_json import MAX_VALUES
from testing.http_client import Caller, serving
from tests.acceptance.conftest import WalletPair

pytestmark = pytest.mark.acceptance

CONTAINER_MIB = 768  # in docker-compose.yml and k8s/base/api.yaml
PROCESSES = 2
AT_ONCE = 16
MIB = 1024 * 1024

UNKNOWN = b"{" + b",".join(b'"%x":0' % i for i in range(420_000)) + b"}"
FEWER_UNKNOWN = b"{" + b",".join(b'"%016x":0' % i for i in range(MAX_VALUES // 2)) + b"}"
ONE_MEMBER_EACH = b'{"transfers":[' + b",".join([b'{"a":0}'] * (MAX_VALUES // 2 - 9)) + b"]}"
WIDE_TEXT = '{"a":"\U0001f600%s"}'.encode() % (b"x" * 4_000_000)
REFUSED = [UNKNOWN, FEWER_UNKNOWN, ONE_MEMBER_EACH, WIDE_TEXT]


@pytest.fixture(scope="module")
def server(
    database_url: str, broker_url: str, cache_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, psutil.Process]]:
    """Start a server with one process that takes requests. Yields: its port, that process."""
    before = set(psutil.Process().children(recursive=True))
    with serving(
        log=tmp_path_factory.mktemp("large") / "gunicorn.log",
        DATABASE_URL=database_url,
        BROKER_URL=broker_url,
        CACHE_URL=cache_url,
        API_PROCESSES="1",
    ) as port:
        started = set(psutil.Process().children(recursive=True)) - before
        yield port, max(started, key=lambda process: process.create_time())


def test_many_large_bodies_at_once_stay_within_the_memory_and_delay_nobody(
    server: tuple[int, psutil.Process], client: Caller, wallet_pair: WalletPair
) -> None:
    port, process = server
    valid = full_batch(wallet_pair)
    bodies = [body for body in REFUSED for _ in range(AT_ONCE)] + [valid] * 3
    peak = 0
    is_over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(0.01):
            peak = max(peak, process.memory_info().rss)

    def send(body: bytes) -> int:
        caller = Caller(port, client.api_key)
        headers = {"Content-Type": "application/json"}
        return caller("POST", "/v1/transfers/batch", data=body, headers=headers).status_code

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            sent = {pool.submit(send, body): body for body in bodies}
            taken_s = [ask(port) for _ in range(20)]
        assert statistics.median(taken_s) < 2
        for answer, body in sent.items():
            assert answer.result() == (202 if body is valid else 400)
    finally:
        is_over.set()
        watcher.join()
    assert peak < CONTAINER_MIB * MIB / PROCESSES


def ask(port: int) -> float:
    started_s = time.monotonic()
    assert Caller(port).get("/health/live").status_code == 200
    return time.monotonic() - started_s


def full_batch(wallets: WalletPair) -> bytes:
    """Return a valid batch of 5,000 that is nearly as large as a batch may be."""
    item = (
        b'{"source":"%b","destination":"%b","asset":"USD","amount":"0.01",'
        b'"idempotency_key":"%b","metadata":{"a":"%b"}}'
    )
    ends = str(wallets.source.id).encode(), str(wallets.destination.id).encode()
    items = (item % (*ends, str(uuid4()).encode(), b"x" * 590) for _ in range(5_000))
    return b'{"transfers":[' + b",".join(items) + b"]}"
