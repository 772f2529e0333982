"""Orphans: rows of transfers that do not exist are found, wherever and whenever they appear."""

from __future__ import annotations

from uuid import UUID

import pytest

from ledger.ids import new_id
from testing.corruptible_ledger import CorruptibleLedger

LOWEST, HIGHEST = UUID(int=0), UUID(int=2**128 - 1)


def post_for_nobody(ledger: CorruptibleLedger, transfer_id: UUID) -> None:
    """Make money of nothing: a posting without a transfer, to which all balances fit."""
    ledger.ids["nobody"] = transfer_id
    ledger.corrupt(
        """INSERT INTO postings (transfer_id, leg, debit_wallet_id, credit_wallet_id, amount,
                debit_balance_after, credit_balance_after, created_at)
            SELECT :nobody, 'deduct', payer.id, payee.id, 100, payer.balance - 100,
                payee.balance + 100, greatest(clock_timestamp(), payer.posted_at, payee.posted_at)
            FROM wallets AS payer, wallets AS payee
            WHERE payer.id = :external AND payee.id = :other""",
        """UPDATE wallets SET balance = line.after, posted_at = line.created_at FROM (
            SELECT debit_wallet_id AS id, debit_balance_after AS after, created_at, seq
            FROM postings UNION ALL
            SELECT credit_wallet_id, credit_balance_after, created_at, seq FROM postings) AS line
           WHERE line.id = wallets.id AND line.seq = (SELECT max(seq) FROM postings)""",
    )


@pytest.mark.parametrize("transfer_id", [LOWEST, HIGHEST, new_id()], ids=["first", "last", "any"])
def test_a_posting_without_a_transfer_is_found_whatever_its_id(
    ledger: CorruptibleLedger, transfer_id: UUID
) -> None:
    post_for_nobody(ledger, transfer_id)
    assert {each.kind for each in ledger.scan()} == {"posting_orphaned"}


@pytest.mark.parametrize("transfer_id", [LOWEST, HIGHEST], ids=["first", "last"])
def test_a_state_without_a_transfer_is_found_whatever_its_id(
    ledger: CorruptibleLedger, transfer_id: UUID
) -> None:
    ledger.ids["nobody"] = transfer_id
    ledger.corrupt("UPDATE outcomes SET transfer_id = :nobody WHERE transfer_id = :settled")
    assert "state_orphaned" in {each.kind for each in ledger.scan()}


def test_one_that_appears_while_a_full_run_is_under_way_is_found_by_it(
    ledger: CorruptibleLedger,
) -> None:
    assert ledger.scan() == []
    run = ledger.begin("operator")
    while ledger.run(run.id).phase in ("outcomes", "postings"):
        ledger.continue_run(works_for_s=1e-9)
    post_for_nobody(ledger, new_id())
    found = []
    while ledger.run(run.id).state == "running":
        found += ledger.continue_run(works_for_s=1e-9)
    assert {each.kind for each in found} == {"posting_orphaned"}


def test_a_scan_begins_also_when_the_counts_of_transfers_are_gone(
    ledger: CorruptibleLedger,
) -> None:
    ledger.corrupt("DELETE FROM ended_counts")
    assert ledger.scan() == []
