"""The core of the client: what is sent, how long it pauses, and how a call ends.

The core does no I/O, so these tests play the network: each script is what the attempts come to.
"""

from __future__ import annotations

from typing import Any

import pytest

import truepenny
from tests.unit.client.scripted import (
    CLIENT_ID,
    CUT,
    DONE,
    KEY,
    LIMITED,
    NO_CONNECTION,
    NOT_RECORDED,
    OVERLOADED,
    REFUSED,
    STRANGER,
    UNAVAILABLE,
    Script,
    Scripted,
    answer,
    play,
    problem,
    session,
    transfer,
)
from truepenny.calls import clients, transfers, wallets
from truepenny.protocol.actions import HttpAnswer, Plan, Send, Sleep
from truepenny.protocol.session import Session


def create(on: Session) -> Plan[Any]:
    return transfers.create(
        on, source="s", destination="d", amount="1.00", asset="USD", idempotency_key=KEY
    )


ENDS: list[tuple[Script, type[Exception] | None, int]] = [
    ([DONE], None, 1),
    ([NO_CONNECTION, CUT, DONE], None, 3),
    ([problem(408, "x"), LIMITED, problem(500, "x"), UNAVAILABLE, DONE], None, 5),
    ([answer(502), answer(504), DONE], None, 3),
    # No answer says that it was not recorded.
    ([CUT], truepenny.OutcomeUnknown, 6),
    ([UNAVAILABLE], truepenny.OutcomeUnknown, 6),
    ([answer(502)], truepenny.OutcomeUnknown, 6),
    ([problem(408, "x")], truepenny.OutcomeUnknown, 6),
    ([problem(500, "internal_error")], truepenny.OutcomeUnknown, 6),
    ([answer(200)], truepenny.OutcomeUnknown, 6),
    ([answer(200, "<a page of a proxy>")], truepenny.OutcomeUnknown, 6),
    ([answer(201, transfer(idempotency_key="other"))], truepenny.OutcomeUnknown, 6),
    ([answer(307)], truepenny.OutcomeUnknown, 1),
    ([answer(501)], truepenny.OutcomeUnknown, 1),
    # One of them may have arrived.
    ([CUT, LIMITED], truepenny.OutcomeUnknown, 6),
    ([NO_CONNECTION, CUT, NO_CONNECTION], truepenny.OutcomeUnknown, 6),
    ([OVERLOADED, UNAVAILABLE, OVERLOADED], truepenny.OutcomeUnknown, 6),
    # Every one of them certainly did nothing.
    ([NO_CONNECTION], truepenny.NotRecorded, 6),
    ([LIMITED], truepenny.NotRecorded, 6),
    ([answer(429)], truepenny.NotRecorded, 6),
    ([OVERLOADED], truepenny.NotRecorded, 6),
    ([NOT_RECORDED], truepenny.NotRecorded, 6),
    ([LIMITED, OVERLOADED, NOT_RECORDED, NO_CONNECTION], truepenny.NotRecorded, 6),
    # Refusals are never sent again.
    ([REFUSED], truepenny.InsufficientFunds, 1),
    ([problem(422, "wallet_frozen")], truepenny.WalletFrozen, 1),
    ([problem(422, "of a newer version")], truepenny.Refused, 1),
    ([STRANGER], truepenny.Unauthenticated, 1),
    ([answer(403)], truepenny.Forbidden, 1),
    ([LIMITED, REFUSED], truepenny.InsufficientFunds, 2),
    ([NO_CONNECTION, STRANGER], truepenny.Unauthenticated, 2),
    # What the ledger says about the transfer also speaks for the attempt before.
    ([CUT, REFUSED], truepenny.InsufficientFunds, 2),
    ([CUT, problem(422, "wallet_frozen")], truepenny.WalletFrozen, 2),
    ([CUT, problem(422, "idempotency_key_reused")], truepenny.IdempotencyKeyReused, 2),
    # What is said about the caller or by a proxy does not: the attempt before may have passed.
    ([CUT, STRANGER], truepenny.OutcomeUnknown, 2),
    ([CUT, problem(403, "forbidden")], truepenny.OutcomeUnknown, 2),
    ([CUT, problem(400, "invalid_request")], truepenny.OutcomeUnknown, 2),
    ([CUT, answer(404)], truepenny.OutcomeUnknown, 2),
    ([CUT, answer(422)], truepenny.OutcomeUnknown, 2),
]


@pytest.mark.parametrize(("script", "end", "attempts"), ENDS)
def test_a_transfer_ends_as_its_attempts_say(
    script: Script, end: type[Exception] | None, attempts: int
) -> None:
    on = session()
    if end is None:
        assert play(create(on), script, on).id == transfer()["id"]
    else:
        with pytest.raises(end) as caught:
            play(create(on), script, on)
        assert caught.type is end
        tells_what_is_known(caught.value, on)
    assert len(on.sent) == attempts
    assert {each.headers["Idempotency-Key"] for each in on.sent} == {KEY.encode()}
    assert len({each.body for each in on.sent}) == 1
    assert len({each.headers["X-Request-Id"] for each in on.sent}) == attempts


def tells_what_is_known(error: Exception, on: Scripted) -> None:
    if isinstance(error, truepenny.OutcomeUnknown):
        assert (error.idempotency_key, error.transfer_id) == (KEY, transfer()["id"])
        assert KEY in str(error)
    if isinstance(error, truepenny.NotRecorded):
        assert error.idempotency_key == KEY
    if isinstance(error, truepenny.OutcomeUnknown | truepenny.NotRecorded):
        assert error.request_id == on.sent[-1].headers["X-Request-Id"].decode()


def test_pauses_are_random_below_a_bound_that_doubles() -> None:
    seen: list[list[float]] = []
    for _ in range(300):
        on = session()
        with pytest.raises(truepenny.OutcomeUnknown):
            play(create(on), [CUT], on)
        seen.append(on.pauses)
    for number, bound in enumerate([0.2, 0.4, 0.8, 1.6, 3.2]):
        pauses = [each[number] for each in seen]
        assert bound * 0.8 < max(pauses) <= bound
        assert min(pauses) < bound * 0.2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        (
            {
                "retry-after": "Sat, 31 Jan 2026 12:00:07 GMT",
                "date": "Sat, 31 Jan 2026 12:00:00 GMT",
            },
            7,
        ),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "-7"}, 0),
        ({"retry-after": "9" * 400}, 0),
    ],
)
def test_retry_after_is_heeded(headers: dict[str, str], seconds: float) -> None:
    on = session()
    play(create(on), [HttpAnswer(503, headers, b""), DONE], on)
    assert seconds <= sum(on.pauses) <= seconds + 0.2


def test_who_must_wait_beyond_the_deadline_is_told_at_once() -> None:
    on = session(deadline_s=10)
    limited = HttpAnswer(429, {"retry-after": "11"}, b"")
    with pytest.raises(truepenny.NotRecorded) as caught:
        play(create(on), [limited], on)
    assert caught.value.attempts == 1
    assert caught.value.retry_after_s == 11
    assert on.time_s == 0


def test_a_call_ends_within_its_deadline() -> None:
    on = session(deadline_s=30, retries=1_000)
    with pytest.raises(truepenny.OutcomeUnknown):
        play(create(on), [CUT], on)
    assert 15 < on.time_s < 30


def test_the_last_attempt_gets_the_time_that_is_left() -> None:
    on = session(deadline_s=12)
    play(create(on), [HttpAnswer(503, {"retry-after": "9"}, b""), DONE], on)
    assert [round(each.timeout_s) for each in on.sent] == [10, 3]


@pytest.mark.parametrize(
    ("script", "attempts"), [([CUT], 1), ([OVERLOADED], 6), ([LIMITED, UNAVAILABLE], 2)]
)
def test_what_cannot_be_repeated_is_sent_again_only_if_it_certainly_did_not_arrive(
    script: Script, attempts: int
) -> None:
    on = session()
    with pytest.raises((truepenny.OutcomeUnknown, truepenny.NotRecorded)):
        play(clients.create_key(on, CLIENT_ID), script, on)
    assert len(on.sent) == attempts


def test_a_key_that_is_missing_after_a_lost_answer_is_deleted() -> None:
    on = session()
    gone = problem(404, "not_found")
    assert play(clients.delete_key(on, CLIENT_ID, "k"), [CUT, gone], on) is None
    with pytest.raises(truepenny.NotFound):
        play(clients.delete_key(on, CLIENT_ID, "k"), [gone], on)


def test_a_read_that_fails_is_unavailable_whatever_its_attempts_came_to() -> None:
    on = session()
    scripts: list[Script] = [[CUT], [LIMITED], [UNAVAILABLE], [NO_CONNECTION]]
    for script in scripts:
        with pytest.raises(truepenny.Unavailable) as caught:
            play(wallets.get_one(on, "w"), script, on)
        assert type(caught.value) is truepenny.Unavailable
    with pytest.raises(truepenny.Forbidden):
        play(wallets.get_one(on, "w"), [CUT, problem(403, "forbidden")], on)


def test_one_refusal_for_the_rate_brakes_every_client_with_that_key() -> None:
    first = session()
    second = Scripted(first.server, client_id=CLIENT_ID)
    limited = HttpAnswer(429, {"retry-after": "50"}, b"")
    with pytest.raises(truepenny.NotRecorded):
        play(create(first), [limited], first)
    second.time_s = first.time_s
    pause = create(second).send(None)
    assert isinstance(pause, Sleep)
    assert 49 < pause.seconds < 51
    # Reads are counted apart, and other keys by themselves.
    assert isinstance(wallets.get_one(second, "w").send(None), Send)
    assert isinstance(create(session()).send(None), Send)


def test_the_brake_of_a_long_wait_turns_others_away_at_once() -> None:
    first = session(deadline_s=5)
    limited = HttpAnswer(429, {"retry-after": "50"}, b"")
    for expected in (1, 0):
        with pytest.raises(truepenny.NotRecorded) as caught:
            play(create(first), [limited], first)
        assert caught.value.attempts == expected
        assert caught.value.retry_after_s == pytest.approx(50, abs=0.5)


def test_a_wrong_retry_after_silences_a_process_for_a_minute_at_most() -> None:
    on = session(deadline_s=100)
    limited = HttpAnswer(429, {"retry-after": "999999999"}, b"")
    with pytest.raises(truepenny.NotRecorded):
        play(create(on), [limited], on)
    play(create(on), [DONE], on)
    assert 60 <= on.time_s <= 61


def test_the_key_of_a_transfer_is_made_before_the_first_attempt_and_kept() -> None:
    on = session()
    with pytest.raises(truepenny.OutcomeUnknown) as caught:
        play(transfers.create(on, source="s", destination="d", amount=1, asset="USD"), [CUT], on)
    keys = {each.headers["Idempotency-Key"].decode() for each in on.sent}
    assert keys == {caught.value.idempotency_key}


def test_an_absent_transfer_is_not_seen_yet() -> None:
    on = session()
    with pytest.raises(truepenny.NotSeenYet) as caught:
        play(transfers.resume(on, KEY), [problem(404, "not_found")], on)
    assert caught.value.transfer_id == transfer()["id"]
    assert not isinstance(caught.value, truepenny.Unavailable)
    with pytest.raises(truepenny.Unavailable):
        play(transfers.resume(on, KEY), [UNAVAILABLE], on)


def test_waiting_goes_on_through_an_outage_and_tells_the_end() -> None:
    on = session()
    first = play(create(on), [DONE], on)
    plan = transfers.wait_for(on, first, 60)
    script = [UNAVAILABLE] * 8 + [DONE, answer(200, transfer(state="committed"))]
    assert play(plan, script, on).is_committed
    failure = {"code": "wallet_frozen", "detail": "frozen"}
    failed = answer(200, transfer(state="rolled_back", failure=failure))
    with pytest.raises(truepenny.WalletFrozen) as caught:
        play(transfers.wait_for(on, first, 60), [DONE, failed], on)
    assert caught.value.transfer_id == first.id
    began_s = on.time_s
    with pytest.raises(truepenny.StillUnderWay) as late:
        play(transfers.wait_for(on, first, 7), [DONE], on)
    assert late.value.state == "accepted"
    assert on.time_s - began_s == pytest.approx(7, abs=0.01)


def test_a_state_of_a_newer_server_is_waited_for() -> None:
    on = session()
    newer = answer(202, transfer(state="queued for review", risk={"score": 3}))
    found = play(create(on), [newer], on)
    assert (found.state, found.has_ended) == ("queued for review", False)
    assert found.extra == {"risk": {"score": 3}}
