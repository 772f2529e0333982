"""Submission: stores checked requests of one client, within what that client may store."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from api.rate_limits.item_limit import ItemLimit
from api.transfers.group_commit import GroupCommit, Outcome
from ledger.acceptance import Acceptance, TransferRequest
from ledger.buffer.entries import Kept
from ledger.clients import Client
from ledger.errors import Overloaded, Unavailable
from ledger.ids import transfer_id
from ledger.transfers import Transfer

FindTransfers = Callable[[list[UUID]], dict[UUID, Transfer]]


class Submission:
    """Counts what a client stores, and stores it. Safe to use from many threads."""

    def __init__(
        self, group_commit: GroupCommit, item_limit: ItemLimit, find: FindTransfers
    ) -> None:
        """Take where requests are stored. find: returns those of the ids that are stored."""
        self._group_commit = group_commit
        self._item_limit = item_limit
        self._find = find

    def submit(self, client: Client, requests: list[TransferRequest]) -> list[Outcome]:
        """Record each request, or find the transfer that its key stands for already.

        Returns and raises: as `GroupCommit.submit`.
        Raises: Problem rate_limited: when the client may not store so many now. Then nothing was
        recorded.
        """
        reserved = self._item_limit.reserve(
            client, len(requests), count_new=lambda: self._count_new(requests)
        )
        try:
            outcomes = self._group_commit.submit(requests)
        except Overloaded:
            self._item_limit.give_back(reserved, stored=0)
            raise  # any other error leaves open what was stored
        self._item_limit.give_back(reserved, stored=sum(map(_is_stored, outcomes)))
        return outcomes

    def _count_new(self, requests: list[TransferRequest]) -> int:
        ids = {transfer_id(each.client.id, each.idempotency_key) for each in requests}
        try:
            return len(ids - self._find(list(ids)).keys())
        except Unavailable:
            return len(ids)


def _is_stored(outcome: Outcome) -> bool:
    """Tell whether the request was stored by this call; rejected ones are stored too."""
    match outcome:
        case Acceptance():
            return not outcome.replayed
        case Kept():
            return outcome.is_new
        case _:
            return False
