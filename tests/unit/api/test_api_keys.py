"""API keys: cached lookups of clients, also during an outage, without a database."""

from __future__ import annotations

from uuid import uuid4

import pytest

from api.auth.api_keys import KNOWN_FOR_S, UNKNOWN_FOR_S, KeyRing
from ledger.clients import Client
from ledger.errors import Unavailable
from testing.manual_clock import ManualClock
from tests.unit.api.test_api_application import NOTHING_KNOWN

ALICE = Client(uuid4(), "alice", "client", None)


class Register:
    """Clients by key, and a record of the keys looked up."""

    def __init__(self, **known: Client) -> None:
        self.known = known
        self.asked: list[str] = []
        self.away = False

    def __call__(self, api_key: str) -> Client | None:
        self.asked.append(api_key)
        if self.away:
            raise Unavailable
        return self.known.get(api_key)


def test_a_key_is_looked_up_once_and_again_when_its_time_is_over() -> None:
    clock, register = ManualClock(), Register(good=ALICE)
    keys = KeyRing(register, NOTHING_KNOWN, clock=clock)
    assert keys.client_of("good") == keys.client_of("good") == ALICE
    assert register.asked == ["good"]
    clock.now_s += KNOWN_FOR_S + 0.1
    del register.known["good"]
    assert keys.client_of("good") is None


def test_an_unknown_key_is_remembered_for_a_shorter_time() -> None:
    clock, register = ManualClock(), Register()
    keys = KeyRing(register, NOTHING_KNOWN, clock=clock)
    assert keys.client_of("new") is keys.client_of("new") is None
    assert register.asked == ["new"]
    register.known["new"] = ALICE
    clock.now_s += UNKNOWN_FOR_S + 0.1
    assert keys.client_of("new") == ALICE


def test_a_flood_of_unknown_keys_does_not_push_out_the_good_ones() -> None:
    register = Register(good=ALICE)
    keys = KeyRing(register, NOTHING_KNOWN, clock=ManualClock())
    keys.client_of("good")
    for number in range(20_000):
        keys.client_of(f"bad {number}")
    keys.client_of("good")
    assert register.asked.count("good") == 1


def test_a_known_client_is_accepted_while_the_database_is_away() -> None:
    clock, register = ManualClock(), Register(good=ALICE)
    keys = KeyRing(register, NOTHING_KNOWN, clock=clock)
    keys.client_of("good")
    clock.now_s += KNOWN_FOR_S + 0.1
    register.away = True
    assert keys.client_of("good") == ALICE
    with pytest.raises(Unavailable):
        keys.client_of("never seen")


def test_a_revoked_client_is_not_accepted_during_an_outage() -> None:
    clock, register = ManualClock(), Register(good=ALICE)
    keys = KeyRing(register, NOTHING_KNOWN, clock=clock)
    keys.client_of("good")
    clock.now_s += KNOWN_FOR_S + 0.1
    del register.known["good"]
    assert keys.client_of("good") is None
    clock.now_s += UNKNOWN_FOR_S + 0.1
    register.away = True
    with pytest.raises(Unavailable):
        keys.client_of("good")
