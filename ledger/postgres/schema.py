"""The tables, as SQLAlchemy Core sees them.

The rules (CHECK, UNIQUE, foreign keys, triggers) are made by the migrations; a test
compares the two, so neither drifts. Three tables tell one transfer's life:

    transfers    what was asked for; written once, never changed
    unfinished   where it stands while it is under way; small and hot, one row each
    outcomes     how it ended; written once, never changed

A transfer has a row in exactly one of the last two. Keeping the moving part out of the
large table makes a step an update in place (HOT) of a table that fits in memory; it
repeats the four columns that the steps need, so that they read nothing else.
"""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

TimestampColumn = DateTime(timezone=True)
MinorUnits = Numeric(38, 0)

assets = Table(
    "assets",
    metadata,
    Column("code", Text, primary_key=True),
    Column("scale", SmallInteger, nullable=False),
)

clients = Table(
    "clients",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False),
    Column("rate_limit", Text),
    Column("created_at", TimestampColumn, nullable=False, server_default=text("now()")),
)

wallets = Table(
    "wallets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner_id", Uuid),
    Column("asset", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    Column("balance", MinorUnits, nullable=False, server_default=text("0")),
    Column("reserved", MinorUnits, nullable=False, server_default=text("0")),
    Column("incoming", MinorUnits, nullable=False, server_default=text("0")),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    Column("created_at", TimestampColumn, nullable=False, server_default=text("now()")),
    # The time of the newest posting. No later one may be stamped before it, whatever a
    # clock does, so that "the balance at a time" has one answer.
    Column("posted_at", TimestampColumn, nullable=False, server_default=text("now()")),
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("client_id", Uuid, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("source_id", Uuid, nullable=False),
    Column("destination_id", Uuid, nullable=False),
    # Who may see the transfer. Wallets never change hands, so this never goes stale.
    Column("source_owner_id", Uuid),
    Column("destination_owner_id", Uuid),
    Column("asset", Text, nullable=False),
    Column("amount", MinorUnits, nullable=False),
    Column("capture", Text, nullable=False, server_default=text("'auto'")),
    Column("expires_at", TimestampColumn),
    Column("reference", Text),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    Column("refund_of", Uuid),
    Column("group_id", Uuid),
    Column("created_at", TimestampColumn, nullable=False, server_default=text("now()")),
)

unfinished = Table(
    "unfinished",
    metadata,
    Column("transfer_id", Uuid, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("source_id", Uuid, nullable=False),
    Column("transit_id", Uuid, nullable=False),
    Column("destination_id", Uuid, nullable=False),
    Column("amount", MinorUnits, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'accepted'")),
    # The batch that drives it; null until a reserve has claimed it.
    Column("batch_id", Uuid),
    # A decided failure: no step moves it on any more, only rollback.
    Column("failure_code", Text),
    Column("failure_detail", Text),
    Column("redrives", Integer, nullable=False, server_default=text("0")),
    Column("reserved_at", TimestampColumn),
    Column("deducted_at", TimestampColumn),
    Column("credited_at", TimestampColumn),
    # When it last moved or was last driven; what the recovery scan goes by.
    Column("moved_at", TimestampColumn, nullable=False, server_default=text("now()")),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("transfer_id", Uuid, primary_key=True),
    Column("state", Text, nullable=False),
    Column("failure_code", Text),
    Column("failure_detail", Text),
    Column("batch_id", Uuid),
    Column("reserved_at", TimestampColumn),
    Column("deducted_at", TimestampColumn),
    Column("credited_at", TimestampColumn),
    Column("finished_at", TimestampColumn, nullable=False, server_default=text("now()")),
)

postings = Table(
    "postings",
    metadata,
    Column("transfer_id", Uuid, primary_key=True),
    Column("leg", Text, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("debit_wallet_id", Uuid, nullable=False),
    Column("credit_wallet_id", Uuid, nullable=False),
    Column("amount", MinorUnits, nullable=False),
    Column("debit_balance_after", MinorUnits, nullable=False),
    Column("credit_balance_after", MinorUnits, nullable=False),
    Column("created_at", TimestampColumn, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("transfer_id", Uuid, nullable=False),
    Column("at", TimestampColumn, nullable=False, server_default=text("clock_timestamp()")),
    Column("event", Text, nullable=False),
    Column("worker", Text),
    Column("attempt", Integer),
    Column("detail", Text),
)

# Requests that were buffered and then refused for naming what is not there: no transfers, but
# read as rejected ones. See `ledger.buffer.rejected`.
refused_requests = Table(
    "refused_requests",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("client_id", Uuid, nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("source_id", Uuid, nullable=False),
    Column("destination_id", Uuid, nullable=False),
    Column("asset", Text, nullable=False),
    Column("scale", Integer, nullable=False),
    Column("amount", MinorUnits, nullable=False),
    Column("reference", Text),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    Column("failure_code", Text, nullable=False),
    Column("failure_detail", Text, nullable=False),
    Column("buffered_at", TimestampColumn, nullable=False),
    Column("refused_at", TimestampColumn, nullable=False, server_default=text("now()")),
)

# Not the ledger's: the prices that were last known, one row each, for when the cache has none.
last_prices = Table(
    "last_prices",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("price", Numeric, nullable=False),
    Column("as_of", TimestampColumn, nullable=False),
)

# The consistency scan's: its runs, what they found and did, what of that still stands, and how
# far each wallet's postings were read. See `ledger.reconciliation.scan`.
reconciliations = Table(
    "reconciliations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'running'")),
    Column("is_full", Boolean, nullable=False),
    Column("phase", Text, nullable=False),
    Column("cursor", JSONB, nullable=False, server_default=text("'{}'")),
    Column("chunks", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("transfers_from", TimestampColumn),
    Column(
        "transfers_until", TimestampColumn, nullable=False, server_default=text("clock_timestamp()")
    ),
    Column("horizon", TimestampColumn, nullable=False),
    Column("passes", Integer, nullable=False, server_default=text("1")),
    Column("suspects", JSONB, nullable=False, server_default=text("'{}'")),
    Column("next_suspects", JSONB, nullable=False, server_default=text("'{}'")),
    Column("wallets_checked", BigInteger, nullable=False, server_default=text("0")),
    Column("assets_checked", Integer, nullable=False, server_default=text("0")),
    Column("transfers_checked", BigInteger, nullable=False, server_default=text("0")),
    Column("findings_count", BigInteger, nullable=False, server_default=text("0")),
    Column("standing_count", Integer, nullable=False, server_default=text("0")),
    Column("started_at", TimestampColumn, nullable=False, server_default=text("clock_timestamp()")),
    Column("finished_at", TimestampColumn),
)

reconciliation_findings = Table(
    "reconciliation_findings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("reconciliation_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("wallet_id", Uuid),
    Column("asset", Text),
    Column("transfer_id", Uuid),
    Column("detail", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("before", JSONB),
    Column("after", JSONB),
    Column("at", TimestampColumn, nullable=False, server_default=text("clock_timestamp()")),
)

standing_wrongs = Table(
    "standing_wrongs",
    metadata,
    Column("key", Text, primary_key=True),
    Column("wallet_ids", ARRAY(Uuid), nullable=False),
    Column("found_in", Uuid, nullable=False),
    Column("last_found_in", Uuid, nullable=False),
)

read_positions = Table(
    "read_positions",
    metadata,
    Column("wallet_id", Uuid, primary_key=True),
    # The full run that has read all of them; null when only parts, or by none of those.
    Column("full_run_id", Uuid),
    Column("posted_at", TimestampColumn, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("balance", MinorUnits, nullable=False),
    Column("stamped", MinorUnits, nullable=False),
)

# How many have ended, up to a time after which none can be added before it. See
# `ledger.transfer_counts`.
ended_counts = Table(
    "ended_counts",
    metadata,
    Column("state", Text, primary_key=True),
    Column("count", BigInteger, nullable=False, server_default=text("0")),
    Column("up_to", TimestampColumn, nullable=False),
)
