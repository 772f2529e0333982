"""Tables of the scans, as SQLAlchemy Core objects; the others are in `ledger.postgres.schema`."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Identity,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from ledger.postgres.columns import MinorUnits, TimestampColumn, metadata

# Tables of the consistency scan: its runs, their findings, the discrepancies that still stand,
# and how far each wallet's postings were read. See `ledger.reconciliation.scan`.
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
    Column("transfers_total", BigInteger, nullable=False, server_default=text("0")),
    Column("rows_read", BigInteger, nullable=False, server_default=text("0")),
    Column("rows_total", BigInteger, nullable=False, server_default=text("0")),
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
    # The full run that read these postings; null when no full run did.
    Column("full_run_id", Uuid),
    Column("posted_at", TimestampColumn, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("balance", MinorUnits, nullable=False),
    Column("stamped", MinorUnits, nullable=False),
)

# How many transfers had ended by a time. See `ledger.transfer_counts`.
ended_counts = Table(
    "ended_counts",
    metadata,
    Column("state", Text, primary_key=True),
    Column("count", BigInteger, nullable=False, server_default=text("0")),
    Column("up_to", TimestampColumn, nullable=False),
)
