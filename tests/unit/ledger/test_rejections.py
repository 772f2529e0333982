"""Rejections: which transfers of a source fit its funds, and why others are rejected."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InsufficientFunds, Rejection, WalletClosed, WalletFrozen
from ledger.funds.on_the_way import READ_LIMIT, InLine, Line
from ledger.rejections import FundsClaim, Terms, find_unmet, rejection

WALLETS = [UUID(int=number) for number in range(3)]


def terms(
    amount: int = 1, kind: str = "customer", source: str = "active", to: str = "active"
) -> Terms:
    return Terms(amount, kind, source, to)


def claims(available: int, *amounts: int, kind: str = "customer") -> list[FundsClaim]:
    """Return claims on one wallet, numbered and placed from 100 on, in steps of 10."""
    return [
        FundsClaim(UUID(int=number), WALLETS[0], available, terms(amount, kind), seq=number)
        for number, amount in zip(range(100, 1_000_000, 10), amounts, strict=False)
    ]


def refused(*made: FundsClaim) -> list[int]:
    unmet = find_unmet(made, {})
    assert not unmet.waiting
    return [transfer.int for transfer, _ in unmet.rejected]


def in_line(*places: tuple[int, int]) -> list[InLine]:
    """Return transfers from (place, amount)."""
    return [InLine(seq, UUID(int=seq), amount) for seq, amount in places]


def judged(made: list[FundsClaim], line: Line) -> dict[int, int | str]:
    """Return, by claim, for which transfer it waits, or that it is rejected."""
    unmet = find_unmet(made, {WALLETS[0]: line})
    waiting = {transfer.int: awaited.int for transfer, awaited in unmet.waiting}
    return waiting | {transfer.int: "rejected" for transfer, _ in unmet.rejected}


@pytest.mark.parametrize(
    ("source", "destination", "reason", "detail"),
    [
        ("active", "active", None, None),
        ("frozen", "active", WalletFrozen, "The source wallet is frozen."),
        ("closed", "active", WalletClosed, "The source wallet is closed."),
        ("active", "frozen", WalletFrozen, "The destination wallet is frozen."),
        ("active", "closed", WalletClosed, "The destination wallet is closed."),
        ("frozen", "closed", WalletFrozen, "The source wallet is frozen."),
        ("closed", "frozen", WalletClosed, "The source wallet is closed."),
    ],
)
@pytest.mark.parametrize("kind", ["customer", "house", "external"])
def test_a_wallet_that_is_not_active_refuses(
    source: str, destination: str, reason: type[Rejection] | None, detail: str | None, kind: str
) -> None:
    found = rejection(terms(1, kind, source, destination), available_minor=10)
    assert type(found) is (reason or type(None))
    assert (found and found.detail) == detail


@pytest.mark.parametrize(
    ("kind", "available", "amount", "fits"),
    [
        ("customer", 10, 10, True),
        ("customer", 10, 11, False),
        ("customer", 0, 1, False),
        ("house", 10, 11, False),
        ("external", 0, 10**30, True),
        ("external", -(10**30), 1, True),
    ],
)
def test_only_an_external_wallet_gives_more_than_it_has(
    kind: str, available: int, amount: int, fits: bool
) -> None:
    found = rejection(terms(amount, kind), available_minor=available)
    assert (found is None) is fits
    assert found is None or isinstance(found, InsufficientFunds)


def test_a_rejection_for_lack_of_funds_contains_no_amount() -> None:
    found = rejection(terms(11), available_minor=10)
    assert found is not None
    assert not any(character.isdigit() for character in found.detail)


@pytest.mark.parametrize(
    ("available", "amounts", "expected"),
    [
        (10, (10,), []),
        (10, (11,), [0]),
        (10, (4, 4, 4), [2]),
        (10, (4, 7, 6), [1]),
        (10, (11, 10), [0]),
        (10, (4, 7, 5, 2, 1), [1, 3]),
        (10, (3, 8, 8, 7, 1), [1, 2, 4]),
        (0, (1, 1), [0, 1]),
        (10, (), []),
    ],
)
def test_a_transfer_that_does_not_fit_is_rejected_and_a_smaller_one_may_fit(
    available: int, amounts: tuple[int, ...], expected: list[int]
) -> None:
    assert refused(*claims(available, *amounts)) == [100 + 10 * number for number in expected]


def test_sources_do_not_take_from_each_other() -> None:
    mixed = [
        FundsClaim(UUID(int=0), WALLETS[0], 5, terms(5)),
        FundsClaim(UUID(int=1), WALLETS[1], 5, terms(6)),
        FundsClaim(UUID(int=2), WALLETS[1], 5, terms(5)),
        FundsClaim(UUID(int=3), WALLETS[0], 5, terms(1)),
    ]
    assert refused(*mixed) == [1, 3]


def test_a_transfer_refused_for_another_reason_takes_no_money() -> None:
    frozen = FundsClaim(UUID(int=0), WALLETS[0], 5, terms(5, to="frozen"))
    assert refused(frozen, FundsClaim(UUID(int=1), WALLETS[0], 5, terms(5))) == [0]


@pytest.mark.parametrize(
    ("available", "amounts", "bringing", "ahead", "expected"),
    [
        # It waits for the first earlier transfer with which there is enough, else for the last.
        (0, (60,), [(1, 100)], [], {100: 1}),
        (0, (60,), [(1, 10), (2, 50), (3, 100)], [], {100: 2}),
        (0, (60,), [(1, 10), (2, 20)], [], {100: 2}),
        # Only earlier ones count, and where there is enough nobody waits.
        (0, (60,), [(101, 100)], [], {100: "rejected"}),
        (60, (60,), [(1, 100)], [], {}),
        # A later one takes nothing that one which waits needs.
        (50, (60, 10), [(1, 100)], [], {100: 1, 110: 1}),
        (50, (60, 10), [(1, 10), (2, 100)], [], {100: 1, 110: 2}),
        (50, (60, 40), [(105, 100)], [], {100: "rejected"}),
        # One that is ahead and not reserved yet comes first; it can take money, not bring any.
        (50, (40,), [], [(1, 20)], {100: 1}),
        (50, (40,), [], [(101, 20)], {}),
        (50, (60,), [], [(1, 20)], {100: "rejected"}),
        (70, (40,), [], [(1, 20)], {}),
        (50, (40,), [(2, 20)], [(1, 20)], {100: 2}),
    ],
)
def test_a_claim_waits_for_what_was_accepted_before_it(
    available: int,
    amounts: tuple[int, ...],
    bringing: list[tuple[int, int]],
    ahead: list[tuple[int, int]],
    expected: dict[int, int | str],
) -> None:
    line = Line(in_line(*ahead), in_line(*bringing))
    assert judged(claims(available, *amounts), line) == expected


def test_a_claim_behind_one_that_waits_waits_for_the_same() -> None:
    ahead = [InLine(5, UUID(int=5), 90, waits_for=UUID(int=1))]
    assert judged(claims(95, 10), Line(ahead, in_line((1, 1), (2, 50)))) == {100: 2}
    assert judged(claims(95, 10), Line(ahead, in_line((1, 50)))) == {100: 1}
    # What brings this wallet no money may end while the wallet is locked, unseen.
    assert judged(claims(95, 10), Line(ahead, [])) == {100: 5}


def test_a_claim_behind_more_than_was_read_waits() -> None:
    line = Line(in_line(*((place, 1) for place in range(READ_LIMIT))))
    assert judged(claims(1_000, 1), line) == {100: READ_LIMIT - 1}
    later = Line(in_line(*((place, 1) for place in range(101, 101 + READ_LIMIT))))
    assert judged(claims(1_000, 1), later) == {}


@pytest.mark.parametrize(("kind", "to"), [("external", "active"), ("customer", "frozen")])
def test_what_no_money_can_change_does_not_wait(kind: str, to: str) -> None:
    claim = FundsClaim(UUID(int=100), WALLETS[0], 0, terms(10, kind, to=to), seq=100)
    expected = {} if kind == "external" else {100: "rejected"}
    assert judged([claim], Line(in_line((1, 100)), in_line((2, 100)))) == expected


lists_of_claims = st.lists(
    st.tuples(st.sampled_from(WALLETS), st.integers(1, 60), st.sampled_from(["active", "frozen"])),
    max_size=40,
)


@given(lists_of_claims, st.tuples(*[st.integers(0, 100)] * len(WALLETS)))
def test_no_more_than_available_is_given_and_no_fitting_transfer_is_rejected(
    asked: list[tuple[UUID, int, str]], funds: tuple[int, ...]
) -> None:
    available = dict(zip(WALLETS, funds, strict=True))
    made = [
        FundsClaim(UUID(int=number), wallet, available[wallet], terms(amount, to=status))
        for number, (wallet, amount, status) in enumerate(asked)
    ]
    no = dict(find_unmet(made, {}).rejected)
    left = dict(available)
    for claim in made:
        reason = no.get(claim.transfer_id)
        if reason is None:
            left[claim.source_id] -= claim.terms.amount_minor
        elif isinstance(reason, InsufficientFunds):
            assert left[claim.source_id] < claim.terms.amount_minor, "it would have fitted"
        else:
            assert claim.terms.destination_status == "frozen"
        assert left[claim.source_id] >= 0
    assert set(no) <= {claim.transfer_id for claim in made}
