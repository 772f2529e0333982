"""Steady load: submits transfers over HTTP from a few threads, each with a new key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import requests

from testing.http_client import Caller
from testing.worker_processes import eventually

THREADS = 2
PAUSE_S = 0.02


@dataclass
class Load:
    """The answers to the submitted transfers, in the order in which they came."""

    answers: list[requests.Response] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def goes_on(self, count: int = 20) -> None:
        """Wait until `count` more transfers were accepted. Fails when that takes too long."""
        wanted = len(self.accepted) + count
        eventually(lambda: len(self.accepted) >= wanted)

    @property
    def accepted(self) -> list[UUID]:
        return [UUID(answer.json()["id"]) for answer in list(self.answers) if answer.ok]

    @property
    def refused(self) -> list[requests.Response]:
        return [answer for answer in list(self.answers) if not answer.ok]


@contextmanager
def load_on(caller: Caller, body: dict[str, Any]) -> Iterator[Load]:
    """Submit this transfer repeatedly, with a new key each time, while the block runs."""
    load, ended = Load(), threading.Event()
    threads = [
        threading.Thread(target=_submit, args=(caller, body, load, ended)) for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert not load.errors


def _submit(caller: Caller, body: dict[str, Any], load: Load, ended: threading.Event) -> None:
    own = Caller(caller.port, caller.api_key)
    while not ended.wait(PAUSE_S):
        try:
            load.answers.append(own.submit(body))
        except requests.RequestException as error:
            load.errors.append(error)
