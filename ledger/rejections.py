"""Rejection rules: checked at acceptance, and again by reserve under the locks of the sources.

`ledger.reserve` repeats their conditions in SQL, to read only the transfers that may fail them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from uuid import UUID

from ledger.errors import InsufficientFunds, Rejection, WalletClosed, WalletFrozen
from ledger.funds.on_the_way import READ_LIMIT, Line


@dataclass(frozen=True, slots=True)
class Terms:
    """The facts that decide about one transfer, apart from the available money."""

    amount_minor: int
    source_kind: str
    source_status: str
    destination_status: str


@dataclass(frozen=True, slots=True)
class FundsClaim:
    """A transfer that asks for a part of the money that its source has available."""

    transfer_id: UUID
    source_id: UUID
    source_available_minor: int
    terms: Terms
    seq: int = 0
    """Its place in the order of acceptance."""


def rejection(terms: Terms, *, available_minor: int) -> Rejection | None:
    """Return why a transfer is rejected when its source has this much, or None if it is not."""
    for role, status in (
        ("source", terms.source_status),
        ("destination", terms.destination_status),
    ):
        if status == "closed":
            return WalletClosed(f"The {role} wallet is closed.")
        if status == "frozen":
            return WalletFrozen(f"The {role} wallet is frozen.")
    if terms.source_kind != "external" and available_minor < terms.amount_minor:
        # The detail contains no amount: the receiver may read it, too.
        return InsufficientFunds()
    return None


@dataclass(frozen=True, slots=True)
class Unmet:
    """The claims that get no money now."""

    rejected: list[tuple[UUID, Rejection]]
    """(transfer id, reason): nothing that was accepted earlier can change it."""
    waiting: list[tuple[UUID, UUID]]
    """(transfer id, the earlier transfer for whose end it waits)."""
    unjudged: int = 0
    """So many were put back for a later reserve, which decides about them."""


def find_unmet(claims: Iterable[FundsClaim], lines: Mapping[UUID, Line]) -> Unmet:
    """Find the claims that get no money, when each source's money is given out in their order.

    lines: of the sources that lack funds, what else concerns them.
    A claim for more than is left waits for an earlier transfer that brings money, or is rejected;
    then a later, smaller claim may still be met. Whatever earlier transfers would have to pay for
    waits as well.
    """
    unmet = Unmet([], [])
    purses: dict[UUID, _Purse] = {}
    for claim in claims:
        purse = purses.get(claim.source_id)
        if purse is None:
            line = lines.get(claim.source_id, Line())
            purse = purses[claim.source_id] = _Purse(claim.source_available_minor, line)
        verdict = purse.judge(claim)
        if isinstance(verdict, Rejection):
            unmet.rejected.append((claim.transfer_id, verdict))
        elif verdict is not None:
            unmet.waiting.append((claim.transfer_id, verdict))
    return unmet


class _Purse:
    """The money of one source while its claims are judged, in their order."""

    def __init__(self, left_minor: int, line: Line) -> None:
        self._left_minor = left_minor
        self._ahead = deque(line.ahead)
        self._bringing = line.bringing
        self._bringing_ids = {each.transfer_id for each in line.bringing}
        self._brought_minor = list(accumulate(each.amount_minor for each in line.bringing))
        self._passed = 0
        self._promised_minor = 0
        """What the transfers ahead ask for."""
        self._last_ahead: UUID | None = None
        """What the last one ahead waits for, or that transfer itself."""

    def judge(self, claim: FundsClaim) -> Rejection | UUID | None:
        """Return why a claim is rejected, or what it waits for, or None when it gets its money."""
        reason = rejection(claim.terms, available_minor=self._left_minor)
        is_short = isinstance(reason, InsufficientFunds)
        if claim.terms.source_kind != "external" and (reason is None or is_short):
            self._pass_those_ahead(claim.seq)
            awaited = self._awaited(claim, is_short=is_short)
            if awaited is not None:
                self._promised_minor += claim.terms.amount_minor
                self._last_ahead = awaited
                return awaited
        if reason is None:
            self._left_minor -= claim.terms.amount_minor
        return reason

    def _pass_those_ahead(self, seq: int) -> None:
        while self._ahead and self._ahead[0].seq < seq:
            each = self._ahead.popleft()
            self._passed += 1
            self._promised_minor += each.amount_minor
            # The same end serves both, unless this wallet's lock does not guard it.
            is_guarded = each.waits_for in self._bringing_ids
            self._last_ahead = each.waits_for if is_guarded else each.transfer_id

    def _awaited(self, claim: FundsClaim, *, is_short: bool) -> UUID | None:
        lacking_minor = claim.terms.amount_minor + self._promised_minor - self._left_minor
        # After so many there may be more, which were not read.
        if lacking_minor <= 0 and self._passed < READ_LIMIT:
            return None
        earlier = bisect_left(self._bringing, claim.seq, key=lambda each: each.seq)
        if earlier:
            enough = bisect_left(self._brought_minor, lacking_minor, 0, earlier)
            return self._bringing[min(enough, earlier - 1)].transfer_id
        # Those ahead can only leave less.
        return None if is_short else self._last_ahead
