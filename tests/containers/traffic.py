"""Traffic: clients that repeat a request without an answer under the same key."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from uuid import UUID

import requests

from testing.http_client import Caller

LANES = 4
_PAUSE_S = 0.02
_REPEAT_AFTER_S = 0.2
_ANSWERED_WITHIN_S = 180.0


@dataclass
class Traffic:
    """Submits transfers of one cent between two wallets, each with its own key."""

    client: Caller
    body: dict[str, str]
    accepted: dict[str, UUID] = field(default_factory=dict)
    """The accepted transfers, by key."""
    buffered: set[UUID] = field(default_factory=set)
    repeats: int = 0
    refusals: list[str] = field(default_factory=list)
    """Answers that no outage explains; there must be none."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _lanes: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._ended.clear()
        self._lanes = [threading.Thread(target=self._submit, daemon=True) for _ in range(LANES)]
        for lane in self._lanes:
            lane.start()

    def stop(self) -> None:
        """Begin no more transfers, and wait until all begun ones are accepted."""
        self._ended.set()
        for lane in self._lanes:
            lane.join(_ANSWERED_WITHIN_S)
        hanging = sum(lane.is_alive() for lane in self._lanes)
        if hanging:
            self.refusals.append(f"{hanging} transfers were not accepted within any bound")

    def _submit(self) -> None:
        client = Caller(self.client.port, self.client.api_key)
        while not self._ended.wait(_PAUSE_S):
            key = str(uuid.uuid4())
            while not self._accepted(client, key):
                self.repeats += 1
                time.sleep(_REPEAT_AFTER_S)

    def _accepted(self, client: Caller, key: str) -> bool:
        """Submit once. Returns: whether this key is finished."""
        try:
            answer = client.submit(self.body, key=key)
        except requests.RequestException:
            client.session.close()
            return False
        if answer.status_code == requests.codes.service_unavailable:
            return False
        if not answer.ok:
            self.refusals.append(answer.text)
            return True
        transfer = answer.json()
        self.accepted[key] = UUID(transfer["id"])
        if transfer["state"] == "buffered":
            self.buffered.add(UUID(transfer["id"]))
        return True
