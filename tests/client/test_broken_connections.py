"""Transfers through everything that breaks between a program and the API.

Whatever breaks, no transfer is doubled or lost, and what the client says about it is true.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial

import psutil
import pytest

import truepenny
from stack.servers.ports import LOOPBACK
from testing.servers.shared import ROOT
from testing.worker_processes import eventually
from tests.client.conftest import Engine
from tests.client.cutting_proxy import cutting
from tests.client.failing_balancer import failing
from tests.client.truth import Told, holds_true
from truepenny import AsyncTruepenny, NewTransfer, Truepenny

pytestmark = pytest.mark.chaos
CUT_AFTER_REQUEST = 200


def new_keys(count: int) -> list[str]:
    return [f"{uuid.uuid4()}" for _ in range(count)]


def test_connections_cut_anywhere_double_lose_and_misreport_nothing(running: Engine) -> None:
    source, destination = running.wallet(5_000), running.wallet()
    keys, told = list[str](), Told()
    with (
        cutting(running.port, chance_before=0.1, chance_after=0.5, chance_within=0.1) as proxy,
        running.client(port=proxy.port) as tp,
    ):
        while proxy.cuts["after"] < CUT_AFTER_REQUEST and len(keys) < 1_000:
            some = new_keys(50)
            keys += some
            told.create_all(tp, source, destination, some)
        assert proxy.cuts["after"] >= CUT_AFTER_REQUEST
        assert proxy.cuts["before"] > 0
        assert proxy.cuts["within"] > 0
    holds_true(running, told, destination, keys)
    with running.client() as tp:  # what was left open is found out later, and can be repeated
        for key in told.unknown:
            again = Told()
            again.create(tp, source, destination, key)
            assert again.done == {key}
            assert tp.transfers.resume(key).wait(30).is_committed
    told.done, told.unknown = told.done | told.unknown, set()
    assert not holds_true(running, told, destination, keys).total()


def test_a_client_that_gives_up_at_once_says_so_truly(running: Engine) -> None:
    source, destination = running.wallet(5_000), running.wallet()
    keys, told = new_keys(100), Told()
    with (
        cutting(running.port, chance_before=0.15, chance_after=0.25) as proxy,
        Truepenny(
            base_url=f"http://{LOOPBACK}:{proxy.port}",
            api_key=running.keys["client"],
            retries=0,
        ) as tp,
    ):
        told.create_all(tp, source, destination, keys)
    left_open = holds_true(running, told, destination, keys)
    assert left_open["recorded"] > 0, "no answer was lost: the test shows nothing"
    assert left_open["absent"] > 0, "no request was lost: the test shows nothing"


def test_a_balancer_that_fails_doubles_loses_and_misreports_nothing(running: Engine) -> None:
    source, destination = running.wallet(5_000), running.wallet()
    keys, told = new_keys(80), Told()
    with (
        failing(running.port, before=0.3, after=0.3) as balancer,
        running.client(port=balancer.port) as tp,
    ):
        told.create_all(tp, source, destination, keys)
        assert {200, 429, 500, 502, 503, 504} <= set(balancer.answers)
    holds_true(running, told, destination, keys)


def test_the_asynchronous_client_tells_the_truth_as_well(running: Engine) -> None:
    source, destination = running.wallet(5_000), running.wallet()
    keys, told = new_keys(100), Told()

    async def create(tp: AsyncTruepenny, key: str) -> None:
        try:
            await tp.transfers.create(
                source=source.id,
                destination=destination.id,
                amount=1,
                asset="USD",
                idempotency_key=key,
            )
        except truepenny.OutcomeUnknown:
            told.unknown.add(key)
        except truepenny.NotRecorded:
            told.not_recorded.add(key)
        else:
            told.done.add(key)

    async def main(port: int) -> None:
        async with running.async_client(port=port) as tp:
            await asyncio.gather(*(create(tp, key) for key in keys))

    with cutting(running.port, chance_before=0.1, chance_after=0.5) as proxy:
        asyncio.run(main(proxy.port))
    holds_true(running, told, destination, keys)


def test_a_batch_through_cut_connections_has_one_true_result_for_each(running: Engine) -> None:
    source, destination = running.wallet(5_000), running.wallet()
    items = [
        NewTransfer(source=source.id, destination=destination.id, amount=1, asset="USD")
        for _ in range(300)
    ]
    told = Told()
    with (
        cutting(running.port, chance_before=0.1, chance_after=0.4) as proxy,
        running.client(port=proxy.port) as tp,
    ):
        left = iter(items)
        results: list[truepenny.BatchResult] = []
        while len(results) < len(items):
            with suppress(truepenny.OutcomeUnknown, truepenny.NotRecorded):
                for result in tp.transfers.batch(left, size=10):
                    results.append(result)  # noqa: PERF402 - some, until an error is raised
    for item, result in zip(items, results, strict=True):
        assert result.idempotency_key == item.idempotency_key
        match result.error:
            case None:
                told.done.add(result.idempotency_key)
            case truepenny.OutcomeUnknown():
                told.unknown.add(result.idempotency_key)
            case truepenny.NotRecorded():
                told.not_recorded.add(result.idempotency_key)
    keys = [item.idempotency_key for item in items]
    holds_true(running, told, destination, keys)


@contextmanager
def killed_again_and_again(port: int) -> Iterator[list[int]]:
    """Kill the processes that serve requests, one every half second, while the block runs."""
    master = next(
        psutil.Process(each.pid)
        for each in psutil.net_connections("tcp4")
        if each.status == psutil.CONN_LISTEN and getattr(each.laddr, "port", 0) == port and each.pid
    )
    while "gunicorn" in (parent := psutil.Process(master.ppid())).cmdline():
        master = parent  # it started those that serve
    killed: list[int] = []
    is_over = threading.Event()

    def kill() -> None:
        while not is_over.wait(0.5):
            for worker in master.children()[:1]:
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)

    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill)
        try:
            yield killed
        finally:
            is_over.set()
        killing.result()


def test_a_killed_api_process_doubles_loses_and_misreports_nothing(running: Engine) -> None:
    source, destination = running.wallet(5_000), running.wallet()
    told, keys = Told(), list[str]()
    with running.client() as tp:
        with killed_again_and_again(running.port) as killed:
            began_s = time.monotonic()
            while len(killed) < 3 and time.monotonic() - began_s < 60 and len(keys) < 4_000:
                some = new_keys(40)
                keys += some
                told.create_all(tp, source, destination, some)
        eventually(lambda: tp.wallets.get(source.id).asset == "USD")
    assert len(killed) >= 3
    holds_true(running, told, destination, keys)


SUBMITS = """
import sys
from truepenny import Truepenny
source, destination, *keys = sys.argv[1:]
with Truepenny() as tp:
    for key in keys:
        tp.transfers.create(
            source=source, destination=destination, amount=1, asset="USD", idempotency_key=key
        )
"""


def test_a_program_that_is_killed_goes_on_with_its_keys(running: Engine) -> None:
    source, destination = running.wallet(1_000), running.wallet()
    keys, told = new_keys(300), Told()
    program = subprocess.Popen(
        (sys.executable, "-c", SUBMITS, str(source.id), str(destination.id), *keys),
        cwd=ROOT / "client",
        env={
            **os.environ,
            "TRUEPENNY_URL": f"http://{LOOPBACK}:{running.port}",
            "TRUEPENNY_API_KEY": running.keys["client"],
        },
    )
    eventually(lambda: running.bank.look(destination).balance >= 1_000, within_s=60)
    program.kill()
    assert program.wait(10) == -signal.SIGKILL, "it was not killed in the middle"
    with running.client() as tp:
        told.create_all(tp, source, destination, keys)
    holds_true(running, told, destination, keys)
    assert told.done == set(keys)


def test_a_limited_client_is_slowed_down_and_loses_nothing(running: Engine) -> None:
    owner, key = running.new_key("client", rate_limit="15/second")
    source = running.bank.wallet(1_000_00, owner=owner)
    destination = running.bank.wallet(owner=owner)
    keys, told = new_keys(60), Told()
    with Truepenny(base_url=f"http://{LOOPBACK}:{running.port}", api_key=key) as tp:
        told.create_all(tp, source, destination, keys)
    running.owners["client"], before = owner, running.owners["client"]
    try:
        holds_true(running, told, destination, keys)
    finally:
        running.owners["client"] = before
    assert told.done == set(keys)


def test_what_a_limit_turns_away_within_the_deadline_was_not_recorded(running: Engine) -> None:
    owner, key = running.new_key("client", rate_limit="5/day")
    source = running.bank.wallet(1_000_00, owner=owner)
    with Truepenny(base_url=f"http://{LOOPBACK}:{running.port}", api_key=key) as tp:
        for number in range(8):
            pay = partial(
                tp.transfers.create,
                source=source.id,
                destination=running.wallet().id,
                amount=1,
                asset="USD",
            )
            if number < 5:
                pay()
                continue
            began_s = time.monotonic()
            with pytest.raises(truepenny.NotRecorded) as caught:
                pay()
            assert time.monotonic() - began_s < 5
            assert (caught.value.retry_after_s or 0) > 50
        assert len(list(tp.transfers.list())) == 6  # with the one that brought the money
