"""Key ring: cached lookups of keys, also during an outage, without a database or a cache."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from api.auth.key_ring import KEPT_FOR, KNOWN_FOR_S, UNKNOWN_FOR_S, KeyRing
from api.database_clock import DatabaseClock
from ledger.clients import Client, hash_key
from ledger.errors import Unavailable
from ledger.keys.credentials import Credential, Found
from ledger.keys.revocations import SETTLED_AFTER, RefusedKey
from testing.fakes.known_keys import NOTHING_KNOWN, found
from testing.manual_clock import ManualClock

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
ALICE = found(Client(uuid4(), "alice", "client", None), at=MONDAY)


class Register:
    """The database's side: keys, a clock of its own, and a record of what was looked up."""

    def __init__(self, **known: Found) -> None:
        self.known = known
        self.asked: list[str] = []
        self.away = False
        self.clock = ManualClock()
        self.began_s = self.clock.now_s
        self.ring = KeyRing(self, NOTHING_KNOWN, DatabaseClock(self.clock))

    def __call__(self, api_key: str) -> Found | None:
        self.asked.append(api_key)
        if self.away:
            raise Unavailable
        answer = self.known.get(api_key)
        return answer and replace(answer, at=self.now)

    @property
    def now(self) -> datetime:
        return MONDAY + timedelta(seconds=self.clock.now_s - self.began_s)

    def find(self, api_key: str = "good") -> Credential | None:
        return self.ring.credential_of(api_key)

    def wait(self, by: float | timedelta) -> None:
        self.clock.now_s += by.total_seconds() if isinstance(by, timedelta) else by

    def refuse(self, api_key: str = "good") -> None:
        """Do what the watch of the database does about a key that has ended now."""
        self.ring.refuse([RefusedKey(hash_key(api_key), self.now)])


def test_a_key_is_looked_up_once_and_again_when_its_time_is_over() -> None:
    register = Register(good=ALICE)
    assert register.find() == register.find() == ALICE.credential
    assert register.asked == ["good"]
    register.wait(KNOWN_FOR_S + 0.1)
    del register.known["good"]
    assert register.find() is None


def test_its_time_begins_with_the_question_and_not_with_the_answer() -> None:
    register = Register(good=ALICE)

    def slow(api_key: str) -> Found | None:
        answer = register(api_key)  # what it was when the statement began
        register.wait(4)
        return answer

    register.ring._find = slow
    register.find()
    del register.known["good"]
    register.wait(KNOWN_FOR_S - 4 + 0.1)
    assert register.find() is None


def test_an_unknown_key_is_remembered_for_a_shorter_time() -> None:
    register = Register()
    assert register.find("new") is register.find("new") is None
    assert register.asked == ["new"]
    register.known["new"] = ALICE
    register.wait(UNKNOWN_FOR_S + 0.1)
    assert register.find("new") == ALICE.credential


def test_a_flood_of_unknown_keys_does_not_push_out_the_good_ones() -> None:
    register = Register(good=ALICE)
    register.find()
    for number in range(20_000):
        register.find(f"bad {number}")
    register.find()
    assert register.asked.count("good") == 1


def test_a_known_key_is_accepted_while_the_database_is_away() -> None:
    register = Register(good=ALICE)
    register.find()
    register.wait(KNOWN_FOR_S + 0.1)
    register.away = True
    assert register.find() == ALICE.credential
    with pytest.raises(Unavailable):
        register.find("never seen")


def test_what_is_remembered_for_an_outage_lives_a_day() -> None:
    register = Register(good=ALICE)
    register.find()
    register.away = True
    register.wait(KEPT_FOR - timedelta(seconds=KNOWN_FOR_S))
    assert register.find() == ALICE.credential
    register.wait(KNOWN_FOR_S + 1)
    with pytest.raises(Unavailable):
        register.find()


@pytest.mark.parametrize("is_away", [False, True])
def test_nothing_lives_past_the_time_at_which_the_key_expires(*, is_away: bool) -> None:
    brief = found(ALICE.credential.client, expires_at=MONDAY + timedelta(seconds=5), at=MONDAY)
    register = Register(good=brief)
    assert register.find() == brief.credential
    register.away = is_away
    register.wait(4.9)
    assert register.find() == brief.credential
    register.wait(0.1)  # still within the time for which it is not looked up again
    assert register.find() is None
    register.wait(KNOWN_FOR_S)
    del register.known["good"]
    assert register.find() is None


def test_a_key_whose_refusal_was_seen_is_refused_in_an_outage() -> None:
    register = Register(good=ALICE)
    register.find()
    register.wait(KNOWN_FOR_S + 0.1)
    del register.known["good"]
    assert register.find() is None
    register.wait(UNKNOWN_FOR_S + 0.1)
    register.away = True
    assert register.find() is None


def test_a_key_that_nobody_used_since_it_was_revoked_is_refused_in_an_outage() -> None:
    register = Register(good=ALICE)
    register.find()
    register.wait(3600)
    register.refuse()
    register.away = True
    assert register.find() is None


def test_a_refused_key_is_refused_at_once_and_only_that_one() -> None:
    register = Register(good=ALICE, other=ALICE)
    register.find()
    register.find("other")
    del register.known["good"]
    register.refuse()
    assert register.find() is None
    register.away = True
    assert register.find("other") == ALICE.credential


def test_a_lookup_that_was_under_way_does_not_bring_a_revoked_key_back() -> None:
    register = Register(good=ALICE)

    def overtaken(api_key: str) -> Found | None:
        answer = register(api_key)
        register.wait(0.5)  # the revocation has its time, but is committed after this look
        register.refuse()
        return answer and replace(answer, at=register.now)

    register.ring._find = overtaken
    register.find()
    register.wait(KNOWN_FOR_S + 0.1)
    register.away = True
    register.ring._find = register
    with pytest.raises(Unavailable):
        register.find()


def test_a_client_that_is_enabled_again_is_remembered_again() -> None:
    register = Register(good=ALICE)
    register.find()
    register.refuse()
    register.wait(SETTLED_AFTER)
    assert register.find() == ALICE.credential
    register.wait(KNOWN_FOR_S + 0.1)
    register.away = True
    assert register.find() == ALICE.credential


def test_a_process_whose_clock_is_wrong_goes_by_that_of_the_database() -> None:
    clock = ManualClock()
    ours = DatabaseClock(clock)
    assert abs(ours.now() - datetime.now(UTC)) < timedelta(minutes=1)
    ours.set(MONDAY, asked_at_s=clock.now_s)
    clock.now_s += 90
    assert ours.now() == MONDAY + timedelta(seconds=90)


def test_the_first_use_of_a_day_is_handed_over_once() -> None:
    register = Register(good=replace(ALICE, is_noted=False))
    register.find()
    assert register.ring.take_used() == {ALICE.credential.key.id}
    assert register.ring.take_used() == set()
    register.known["good"] = ALICE
    register.wait(KNOWN_FOR_S + 0.1)
    register.find()
    assert register.ring.take_used() == set()
