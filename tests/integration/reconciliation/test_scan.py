"""Reconciliation scan: each corruption by hand is found, and repaired or frozen."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlalchemy import text

from ledger.postgres.database import autocommit
from ledger.reconciliation.runs import Trigger
from testing.corruptible_ledger import CorruptibleLedger

Seen = tuple[str, str, str]

POSTING = """INSERT INTO postings (transfer_id, leg, debit_wallet_id, credit_wallet_id, amount,
             debit_balance_after, credit_balance_after, created_at) """
REFUNDED = f"""{POSTING} SELECT :settled, 'refund', :transit, :other, 2000, t.balance - 2000,
              o.balance + 2000, now() FROM wallets t, wallets o
              WHERE t.id = :transit AND o.id = :other"""  # noqa: S608 - our own words
POSTED = f"""{POSTING} SELECT :nothing, 'credit', :external, :another, 5, e.balance - 5,
            a.balance + 5, now() FROM wallets e, wallets a
            WHERE e.id = :external AND a.id = :another"""  # noqa: S608 - our own words

ERASED = (
    "DELETE FROM postings WHERE transfer_id = :settled",
    "DELETE FROM outcomes WHERE transfer_id = :settled",
    "DELETE FROM transfers WHERE id = :settled",
)
BALANCES_BEFORE = (
    "UPDATE wallets SET balance = balance + 2000 WHERE id = :other",
    "UPDATE wallets SET balance = balance - 2000 WHERE id = :another",
)
CLOCKS_BEFORE = (
    """UPDATE wallets SET posted_at = (SELECT max(created_at) FROM postings
       WHERE wallets.id IN (debit_wallet_id, credit_wallet_id)) WHERE id = :other""",
    "UPDATE wallets SET posted_at = created_at WHERE id = :another",
)


@dataclass(frozen=True)
class Corruption:
    """SQL that corrupts the ledger, the findings it must cause, and the wallets to be frozen."""

    statements: tuple[str, ...]
    found: set[Seen]
    frozen: frozenset[str] | set[str] = frozenset()
    touched: frozenset[str] | set[str] = frozenset()
    """Other wallets that the SQL itself changes, or that transfers change after it."""


PROJECTION = "projection_wrong"

# fmt: off
CORRUPTIONS = {
    "a balance is raised": Corruption(
        ("UPDATE wallets SET balance = balance + 1000 WHERE id = :source",),
        {(PROJECTION, "source", "rebuilt")},
    ),
    "money is moved between two balances": Corruption(
        ("UPDATE wallets SET balance = balance - 500 WHERE id = :other",
         "UPDATE wallets SET balance = balance + 500 WHERE id = :another"),
        {(PROJECTION, "other", "rebuilt"), (PROJECTION, "another", "rebuilt")},
    ),
    "a hold is forgotten": Corruption(
        ("UPDATE wallets SET reserved = 0 WHERE id = :source",),
        {(PROJECTION, "source", "rebuilt")},
    ),
    "what is incoming is let go early": Corruption(
        ("UPDATE wallets SET incoming = 0 WHERE id = :destination",),
        {(PROJECTION, "destination", "rebuilt")},
    ),
    "the transit wallet's balance is changed": Corruption(
        ("UPDATE wallets SET balance = balance + 7 WHERE id = :transit",),
        {(PROJECTION, "transit", "rebuilt")},
    ),
    "an external wallet's balance is changed": Corruption(
        ("UPDATE wallets SET balance = 0 WHERE id = :external",),
        {(PROJECTION, "external", "rebuilt")},
    ),
    "a wallet's clock is set back": Corruption(
        ("UPDATE wallets SET posted_at = '2001-01-01' WHERE id = :source",),
        {(PROJECTION, "source", "rebuilt")},
    ),
    "a reserved transfer is set back to accepted": Corruption(
        ("""UPDATE unfinished SET state = 'accepted', reserved_at = NULL
            WHERE transfer_id = :reserved""",),
        {(PROJECTION, "source", "rebuilt")},
    ),
    "a wallet is closed with money in it": Corruption(
        ("""UPDATE wallets SET balance = 0, status = 'closed' WHERE id = :another""",),
        {(PROJECTION, "another", "alarmed"), ("asset_not_zero", "USD", "alarmed")},
    ),
    "a stamped balance is changed": Corruption(
        ("""UPDATE postings SET credit_balance_after = credit_balance_after + 1
            WHERE transfer_id = :settled AND leg = 'credit'""",),
        {("chain_broken", "another", "frozen")},
        {"another"},
    ),
    "a balance is raised, and money leaves the wallet before the scan": Corruption(
        ("UPDATE wallets SET balance = balance + 1000 WHERE id = :source",),
        {("chain_broken", "source", "frozen"), (PROJECTION, "source", "frozen"),
         ("asset_not_zero", "USD", "alarmed")},
        {"source"}, {"transit"},
    ),
    "a posting's amount is changed": Corruption(
        ("""UPDATE postings SET amount = amount + 1
            WHERE transfer_id = :settled AND leg = 'deduct'""",),
        {("leg_wrong", "settled", "frozen"), ("chain_broken", "other", "frozen"),
         ("chain_broken", "transit", "alarmed"), ("transit_wrong", "transit", "alarmed"),
         (PROJECTION, "other", "frozen"), (PROJECTION, "transit", "alarmed")},
        {"other", "another"},
    ),
    "a posting is sent to another wallet": Corruption(
        ("""UPDATE postings SET credit_wallet_id = :destination
            WHERE transfer_id = :settled AND leg = 'credit'""",),
        {("leg_wrong", "settled", "frozen"), ("chain_broken", "destination", "frozen"),
         ("postings_missing", "another", "frozen"), (PROJECTION, "another", "frozen"),
         (PROJECTION, "destination", "frozen")},
        {"other", "another", "destination"},
    ),
    "the last posting of a wallet is deleted": Corruption(
        ("DELETE FROM postings WHERE transfer_id = :settled AND leg = 'credit'",),
        {("leg_missing", "settled", "frozen"), (PROJECTION, "another", "frozen"),
         ("postings_missing", "another", "frozen"),
         ("chain_broken", "transit", "alarmed"), ("transit_wrong", "transit", "alarmed"),
         (PROJECTION, "transit", "alarmed")},
        {"other", "another"},
    ),
    "a wallet's newest transfer is erased with all its rows": Corruption(
        ERASED,
        {("postings_missing", "other", "frozen"), (PROJECTION, "other", "frozen"),
         ("postings_missing", "another", "frozen"), (PROJECTION, "another", "frozen"),
         ("chain_broken", "transit", "alarmed")},
        {"other", "another"},
    ),
    "a wallet's newest transfer is erased, and the balances fit": Corruption(
        (*ERASED, *BALANCES_BEFORE),
        {("postings_missing", "other", "frozen"), ("postings_missing", "another", "frozen"),
         ("chain_broken", "transit", "alarmed")},
        {"other", "another"},
    ),
    "a committed transfer is refunded by hand": Corruption(
        (REFUNDED,
         "UPDATE wallets SET balance = balance + 2000, posted_at = now() WHERE id = :other",
         "ALTER TABLE wallets DROP CONSTRAINT wallets_no_overdraft",
         "UPDATE wallets SET balance = balance - 2000, posted_at = now() WHERE id = :transit"),
        {("leg_surplus", "settled", "frozen"), ("transit_wrong", "transit", "alarmed"),
         ("overdrawn", "transit", "alarmed")},
        {"other", "another"},
    ),
    "money is posted for no transfer": Corruption(
        (POSTED,
         "UPDATE wallets SET balance = balance - 5, posted_at = now() WHERE id = :external",
         "UPDATE wallets SET balance = balance + 5, posted_at = now() WHERE id = :another"),
        {("posting_orphaned", "another", "frozen"), ("posting_orphaned", "external", "alarmed")},
        {"another"},
    ),
    "an outcome is turned into its opposite": Corruption(
        ("""UPDATE outcomes SET state = 'rejected', failure_code = 'x', failure_detail = 'x',
            reserved_at = NULL, deducted_at = NULL, credited_at = NULL
            WHERE transfer_id = :settled""",),
        {("leg_surplus", "settled", "frozen")},
        {"other", "another"},
    ),
    "a transfer under way is made to have committed": Corruption(
        ("""INSERT INTO outcomes (transfer_id, state, reserved_at, deducted_at, credited_at)
            VALUES (:reserved, 'committed', now(), now(), now())""",
         "DELETE FROM unfinished WHERE transfer_id = :reserved"),
        {("leg_missing", "reserved", "frozen"), (PROJECTION, "source", "frozen")},
        {"source", "destination"},
    ),
    "a transfer under way is forgotten": Corruption(
        ("DELETE FROM unfinished WHERE transfer_id = :deducted",),
        {("transfer_lost", "deducted", "frozen"), ("transit_wrong", "transit", "alarmed")},
        {"source", "destination"},
    ),
    "an outcome is forgotten": Corruption(
        ("DELETE FROM outcomes WHERE transfer_id = :settled",),
        {("transfer_lost", "settled", "frozen")},
        {"other", "another"},
    ),
    "a transfer under way is given an outcome, too": Corruption(
        ("""INSERT INTO outcomes (transfer_id, state, failure_code, failure_detail)
            VALUES (:accepted, 'rejected', 'x', 'x')""",),
        {("transfer_doubled", "accepted", "frozen")},
        {"source", "destination"},
    ),
    "a transfer under way is made larger": Corruption(
        ("UPDATE unfinished SET amount = amount + 1 WHERE transfer_id = :reserved",),
        {("transfer_disagrees", "reserved", "frozen"), (PROJECTION, "source", "frozen")},
        {"source", "destination"},
    ),
    "a transfer itself is changed": Corruption(
        ("UPDATE transfers SET amount = amount - 1 WHERE id = :settled",),
        {("leg_wrong", "settled", "frozen")},
        {"other", "another"},
    ),
    "a transfer is deleted": Corruption(
        ("DELETE FROM transfers WHERE id = :settled",),
        {("state_orphaned", "settled", "alarmed"), ("posting_orphaned", "other", "frozen"),
         ("posting_orphaned", "another", "frozen"), ("posting_orphaned", "transit", "alarmed")},
        {"other", "another"},
    ),
    "a transfer is claimed that has more than there is": Corruption(
        ("UPDATE transfers SET amount = 10000000 WHERE id = :accepted",
         """UPDATE unfinished SET amount = 10000000, state = 'reserved', reserved_at = now(),
            batch_id = gen_random_uuid() WHERE transfer_id = :accepted"""),
        {("overdrawn", "source", "frozen"), (PROJECTION, "source", "frozen")},
        {"source"},
    ),
    "a wallet is deleted": Corruption(
        ("DELETE FROM wallets WHERE id = :another",),
        {("transfer_disagrees", "settled", "frozen"), ("asset_not_zero", "USD", "alarmed")},
        {"other"}, {"another"},
    ),
}
# fmt: on


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_found_and_repaired_or_frozen(ledger: CorruptibleLedger, name: str) -> None:
    corruption = CORRUPTIONS[name]
    ledger.ids["nothing"] = ledger.bank.client.id
    before = {each: ledger.row(each) for each in ledger.ids if is_wallet(each)}
    ledger.corrupt(*corruption.statements)
    if "before the scan" in name:
        ledger.run_up_to("deducted")
    found = ledger.scan()
    assert {ledger.named(each) for each in found} == corruption.found
    assert ledger.frozen() == corruption.frozen
    concerned = {about for _, about, _ in corruption.found} | corruption.frozen
    for innocent in before.keys() - concerned - corruption.touched:
        assert ledger.row(innocent) == before[innocent]
    assert ledger.scan() == [], "it was already reported"
    assert ledger.frozen() == corruption.frozen
    if all(action == "rebuilt" for _, _, action in corruption.found):
        ledger.bank.audit()
        assert ledger.latest().standing_count == 0
    else:
        assert ledger.latest().standing_count > 0


@pytest.mark.parametrize("trigger", ["schedule", "operator"])
@pytest.mark.parametrize("balances", [(), BALANCES_BEFORE], ids=["left", "changed"])
def test_an_erased_transfer_that_an_earlier_run_has_read_is_missed(
    ledger: CorruptibleLedger, balances: tuple[str, ...], trigger: Trigger
) -> None:
    assert ledger.scan() == []
    ledger.corrupt(*ERASED, *CLOCKS_BEFORE, *balances)
    before = ledger.row("other"), ledger.row("another")
    found = {ledger.named(each) for each in ledger.scan(trigger)}
    assert {("postings_missing", each, "frozen") for each in ("other", "another")} <= found
    assert "rebuilt" not in {action for _, _, action in found}
    frozen = ledger.row("other"), ledger.row("another")
    assert [each.replace("frozen", "active") for each in frozen] == list(before)


def test_an_older_transfer_that_is_erased_without_a_trace_in_the_wallet_is_missed(
    ledger: CorruptibleLedger,
) -> None:
    assert ledger.scan() == []
    with autocommit(ledger.bank.engine) as connection:
        query = text(
            "SELECT id FROM transfers WHERE source_id = :external AND destination_id = :to"
        )
        ends = {"external": ledger.ids["external"], "to": ledger.ids["destination"]}
        ledger.ids["funding"] = connection.execute(query, ends).scalar_one()
    ledger.corrupt(
        "DELETE FROM postings WHERE transfer_id = :funding",
        "DELETE FROM outcomes WHERE transfer_id = :funding",
        "DELETE FROM transfers WHERE id = :funding",
        """UPDATE postings SET credit_balance_after = credit_balance_after - 5000
           WHERE credit_wallet_id = :destination""",
        "UPDATE wallets SET balance = balance - 5000 WHERE id = :destination",
    )
    found = {ledger.named(each) for each in ledger.scan()}
    about = {(kind, action) for kind, name, action in found if name == "destination"}
    assert about == {("postings_missing", "frozen")}


def test_an_asset_without_a_transit_wallet_is_found(ledger: CorruptibleLedger) -> None:
    ledger.corrupt("INSERT INTO assets VALUES ('LOST', 2)")
    assert {ledger.named(each) for each in ledger.scan()} == {
        ("transit_missing", "LOST", "alarmed")
    }


def is_wallet(name: str) -> bool:
    return name in {"source", "destination", "other", "another", "external", "transit", "back"}
