"""Wallet check: a wallet as one snapshot shows it, and what its postings and transfers say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.money import format_amount


@dataclass(frozen=True, slots=True)
class Break:
    """A posting whose balance follows neither from the posting before it nor from the sum.

    A wrong wallet balance is written on all later postings until it is rebuilt. That is one
    break, at the first posting that differs from the sum, and none where they agree again.
    """

    transfer_id: UUID
    leg: str
    after_minor: int
    """The balance that is written on it."""
    expected_minor: int


@dataclass(frozen=True, slots=True)
class WalletCheck:
    """A wallet on one snapshot, and the values that follow from the journal. In minor units."""

    wallet_id: UUID
    asset: str
    scale: int
    kind: str
    lines: int
    """The number of postings that were read now."""
    is_complete: bool
    """Whether all its postings have been read; before that, the values below are not final."""
    balance: int
    booked: int
    """The sum of its postings."""
    stamped: int
    """The balance that is written on the last posting."""
    reserved: int
    held: int
    """The sum of the `reserved` transfers from this wallet."""
    incoming: int
    coming: int
    """The sum of the `credited` transfers to this wallet."""
    between: int
    """The sum of the `deducted` transfers whose transit wallet this is."""
    created_at: datetime
    posted_at: datetime
    """The wallet's clock."""
    last_posted_at: datetime | None
    """The time of its last posting, if it has any."""
    seq: int | None
    """With `last_posted_at`, the position of the last posting; None when no new one was read."""
    breaks: tuple[Break, ...]
    orphans: tuple[tuple[UUID, str], ...]
    """(transfer, leg) of postings whose transfer does not exist."""
    is_read_part_changed: bool
    """Whether an earlier run has read postings that are not there now, or had another sum."""

    @property
    def are_postings_missing(self) -> bool:
        """Return whether the wallet has had postings that are gone."""
        # Each posting sets the wallet's clock to its own time, and nothing else does.
        is_clock_ahead = self.posted_at > (self.last_posted_at or self.created_at)
        return self.is_read_part_changed or is_clock_ahead

    @property
    def does_journal_agree(self) -> bool:
        """Return whether the newest posting has the balance that all postings add up to."""
        return self.stamped == self.booked

    @property
    def is_projection_wrong(self) -> bool:
        """Return whether the wallet's row differs from what follows from the journal."""
        return bool(self.differences()[0])

    @property
    def is_transit_wrong(self) -> bool:
        return self.kind == "transit" and self.booked != self.between

    @property
    def is_overdrawn(self) -> bool:
        return self.kind != "external" and self.booked - self.held - self.coming < 0

    def differences(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the written values and the right ones, where they differ; amounts as decimals."""
        pairs = {
            "balance": (self.balance, self.booked),
            "reserved": (self.reserved, self.held),
            "incoming": (self.incoming, self.coming),
        }
        wrong = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        before, after = (
            {name: format_amount(pair[side], scale=self.scale) for name, pair in wrong.items()}
            for side in (0, 1)
        )
        if self.last_posted_at is not None and self._is_clock_behind:
            before["posted_at"] = self.posted_at.isoformat()
            after["posted_at"] = self.last_posted_at.isoformat()
        return before, after

    @property
    def deviation(self) -> str:
        """Return the differences as text. It stays the same until the wallet is changed again."""
        deltas = (
            self.balance - self.booked,
            self.reserved - self.held,
            self.incoming - self.coming,
            int(self._is_clock_behind),
        )
        return ":".join(map(str, deltas))

    def rebuilt_values(self) -> dict[str, Any]:
        """Return the columns of the wallet as they follow from the journal."""
        values: dict[str, Any] = {
            "balance": self.booked,
            "reserved": self.held,
            "incoming": self.coming,
        }
        return values | ({"posted_at": self.last_posted_at} if self._is_clock_behind else {})

    @property
    def _is_clock_behind(self) -> bool:
        # The next posting could get an earlier time than the last one, and "the balance at a
        # time" would have two answers.
        return self.last_posted_at is not None and self.posted_at < self.last_posted_at
