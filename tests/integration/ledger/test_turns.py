"""Turns: how a claim is shared out among the clients that have transfers waiting."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import text

from ledger import reserve
from ledger.ids import new_id
from ledger.postgres.database import autocommit, transaction
from ledger.reserve import CLAIM_LIMIT, claim
from testing.bank import Bank
from testing.concurrent_transactions import both_at_once
from testing.servers.databases import as_owner


def waiting(bank: Bank, *counts: int) -> list[list[UUID]]:
    """Let a client for each count have so many transfers waiting, one client after the other.

    Returns: the ids of each client's transfers, in order.
    """
    ends = []
    for count in counts:  # first, since funding a wallet settles what waits
        client = bank.new_client()
        ends.append((bank.wallet(count, owner=client), bank.wallet(owner=client), client, count))
    return [
        bank.accept(*(bank.request(source, to, 1, client=client) for _ in range(count)))
        for source, to, client, count in ends
    ]


def claimed(bank: Bank) -> list[UUID]:
    """Claim a batch. Returns: its transfers, in the order of acceptance."""
    batch = new_id()
    with transaction(bank.engine) as connection:
        claim(connection, batch)
        query = text("SELECT transfer_id FROM unfinished WHERE batch_id = :batch ORDER BY seq")
        return list(connection.scalars(query, {"batch": batch}))


def test_a_client_gets_its_turn_however_much_another_has_waiting(bank: Bank) -> None:
    flood, few = waiting(bank, 3 * CLAIM_LIMIT, 5)
    # The flood has the rest, so that no place of the batch is empty.
    assert claimed(bank) == flood[: CLAIM_LIMIT - 5] + few


def test_clients_that_all_have_many_waiting_get_equal_shares_in_their_order(bank: Bank) -> None:
    lines = waiting(bank, *[CLAIM_LIMIT] * 4)
    batch = claimed(bank)
    share = CLAIM_LIMIT // 4
    assert batch == [id for line in lines for id in line[:share]]
    assert claimed(bank) == [id for line in lines for id in line[share : 2 * share]]


def test_what_equal_shares_leave_goes_to_those_that_waited_longest(bank: Bank) -> None:
    first, few, last = waiting(bank, CLAIM_LIMIT, 10, CLAIM_LIMIT)
    batch = claimed(bank)
    share = CLAIM_LIMIT // 3
    assert batch == [*first[: CLAIM_LIMIT - 10 - share], *few, *last[:share]]


def test_more_clients_than_turns_all_get_theirs_within_a_few_claims(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve, "CLAIM_LIMIT", 12)
    monkeypatch.setattr(reserve, "MAX_TURNS", 6)
    monkeypatch.setattr(reserve, "_CLAIM", reserve.build_claim())
    _, *others = waiting(bank, 300, *[1] * 20)
    singles = {id for [id] in others}
    for _ in range(20):
        batch = claimed(bank)
        assert len(batch) == 12
        singles -= set(batch)
    assert not singles


def test_two_claims_at_once_share_out_different_transfers(bank: Bank) -> None:
    flood, few = waiting(bank, 2 * CLAIM_LIMIT, 2)
    batches = new_id(), new_id()
    counts = both_at_once(
        bank.engine,
        lambda connection: claim(connection, batches[0]),
        lambda connection: claim(connection, batches[1]),
    )
    assert counts == (CLAIM_LIMIT, CLAIM_LIMIT)
    with autocommit(bank.engine) as connection:
        query = text("SELECT transfer_id FROM unfinished WHERE batch_id = ANY(:batches)")
        ids = set(connection.scalars(query, {"batches": list(batches)}))
    assert ids == {*few, *flood[: 2 * CLAIM_LIMIT - 2]}


def test_rows_of_the_version_before_are_claimed_too(bank: Bank) -> None:
    [made] = waiting(bank, 3)
    with as_owner(bank.engine) as connection:
        connection.execute(text("UPDATE unfinished SET turn = DEFAULT"))
    assert claimed(bank) == made
