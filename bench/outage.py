"""Outage benchmark: measures what an outage of the database costs (`make bench-outage`).

Runs the API, a money worker, a scans worker and beat on servers of their own. It submits
transfers at a steady rate before, during and after an outage (SIGKILL of PostgreSQL), then fills
the buffer during a second outage and measures how fast it is drained. Everything is on loopback
and bounded in count and time.
"""

from __future__ import annotations

import argparse
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import requests

from bench.outage_stack import OutageStack, start_outage_stack
from ledger.acceptance import TransferRequest
from ledger.buffer.entries import Buffered
from ledger.clients import Client

LANES = 32
BATCH = 1_000


@dataclass(frozen=True)
class Sample:
    """One request: when it was due, how long its answer took, and what the answer was."""

    at_s: float
    took_s: float
    outcome: str


class SteadyLoad:
    """Submits transfers at a fixed rate, however slowly they are answered.

    A request that waits for a free lane is timed from when it was due, not from when it was
    sent: otherwise a stalled server would look faster than it is.
    """

    def __init__(self, stack: OutageStack, *, rate: float) -> None:
        self._stack = stack
        self._rate = rate
        self._ended = threading.Event()
        self._local = threading.local()
        self.samples: list[Sample] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Submit while the block runs, and wait for all answers at its end."""
        with ThreadPoolExecutor(LANES) as lanes:

            def pace() -> None:
                due_s = time.monotonic()
                while not self._ended.is_set():
                    due_s += 1 / self._rate
                    time.sleep(max(due_s - time.monotonic(), 0))
                    lanes.submit(self._submit, due_s)

            pacer = threading.Thread(target=pace)
            pacer.start()
            try:
                yield
            finally:
                self._ended.set()
                pacer.join()

    def _submit(self, due_s: float) -> None:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
        try:
            answer = self._stack.submit(session)
            outcome = answer.json().get("state") or answer.json()["code"]
        except requests.RequestException as error:
            outcome = type(error).__name__
        self.samples.append(Sample(due_s, time.monotonic() - due_s, outcome))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", choices=("redis", "rabbitmq"), default="redis")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--outage", type=float, default=60.0, help="seconds")
    parser.add_argument("--buffered", type=int, default=50_000, help="transfers to drain")
    options = parser.parse_args()
    with start_outage_stack(options.broker) as everything:
        intake(everything, rate=options.rate, outage_s=options.outage)
        drain(everything, count=options.buffered)


def intake(stack: OutageStack, *, rate: float, outage_s: float) -> None:
    """Measure intake before, during and after an outage."""
    load, phase_s = SteadyLoad(stack, rate=rate), min(outage_s, 20.0)
    with load.running():
        time.sleep(phase_s)
        killed_s = time.monotonic()
        stack.database.kill()
        time.sleep(outage_s)
        stack.database.start()
        back_s = time.monotonic()
        resumed_s = stack.until_accepted() - back_s
        time.sleep(phase_s)
    settled_s = stack.until_settled() - back_s
    opened_s = killed_s + 1.0
    print(
        f"\nintake at {rate:g} requests/s, database away for {outage_s:g} s ({stack.broker_kind})"
    )
    for name, begin_s, end_s in (
        ("before", 0.0, killed_s),
        ("the first second", killed_s, opened_s),
        ("during", opened_s, back_s),
        ("after", back_s, time.monotonic()),
    ):
        _print_phase(name, [each for each in load.samples if begin_s <= each.at_s < end_s])
    print(f"  {'accepted again after':<22}{resumed_s:8.1f} s")
    print(f"  {'all settled after':<22}{settled_s:8.1f} s (load for {phase_s:g} s of it)")


def _print_phase(name: str, samples: list[Sample]) -> None:
    took_ms = sorted(each.took_s * 1000 for each in samples)
    outcomes: dict[str, int] = {}
    for each in samples:
        outcomes[each.outcome] = outcomes.get(each.outcome, 0) + 1
    said = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items()))
    p50_ms, p99_ms = took_ms[len(took_ms) // 2], took_ms[int(len(took_ms) * 0.99)]
    print(f"  {name:<18} p50 {p50_ms:7.1f} ms   p99 {p99_ms:7.1f} ms   {said}")


def drain(stack: OutageStack, *, count: int) -> None:
    """Fill the buffer while the database is away, and time until the ledger has all of it."""
    stack.database.kill()
    begun_s = time.monotonic()
    for start in range(0, count, BATCH):
        stack.buffer.put([_request(stack) for _ in range(min(BATCH, count - start))])
    buffered_s = time.monotonic() - begun_s
    stack.database.start()
    back_s = time.monotonic()
    stack.until(lambda: stack.buffer.count() < count)
    first_s = time.monotonic()
    stack.until(lambda: stack.buffer.count() == 0)
    drained_s = time.monotonic()
    settled_s = stack.until_settled()
    print(f"\ndrain of {count:,} buffered transfers ({stack.broker_kind})")
    print(f"  put into the buffer at {count / buffered_s:,.0f}/s")
    print(f"  began {first_s - back_s:.1f} s after the database's return")
    print(f"  drained into the ledger at {count / (drained_s - first_s):,.0f}/s")
    print(f"  all committed {settled_s - back_s:.1f} s after the return, ", end="")
    print(f"at {count / (settled_s - first_s):,.0f}/s from the first")
    stack.bank.audit()


def _request(stack: OutageStack) -> Buffered:
    client: Client = stack.owner
    request = TransferRequest(
        client=client,
        idempotency_key=str(uuid.uuid4()),
        source_id=stack.source.id,
        destination_id=stack.destination.id,
        asset="USD",
        scale=2,
        amount_minor=1,
    )
    return Buffered(request, datetime.now(UTC))


if __name__ == "__main__":
    main()
