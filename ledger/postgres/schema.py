"""Tables of the database, as SQLAlchemy Core objects.

The migrations create them, with their rules (CHECK, UNIQUE, foreign keys, triggers); a test
compares the two, so they cannot drift apart. Three tables hold a transfer:

    transfers    the request; written once, never changed
    unfinished   the state of a transfer that has not ended; small and hot, one row each
    outcomes     the end of a transfer; written once, never changed

A transfer has a row in exactly one of the last two. Since the changing part is not in the
large table, a step is an update in place (HOT) of a table that fits in memory. `unfinished`
repeats the four columns that the steps need, so that they read no other table.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Identity,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from ledger.postgres import scan_tables
from ledger.postgres.columns import MinorUnits, TimestampColumn

metadata = scan_tables.reconciliations.metadata
"""All tables; those of the scans are in `ledger.postgres.scan_tables`."""

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
    Column("item_limit", Text),
    Column("status", Text, nullable=False, server_default=text("'active'")),
    # The last time at which it was disabled, and enabled again.
    Column("disabled_at", TimestampColumn),
    Column("enabled_at", TimestampColumn),
    # The one admin that ADMIN_API_KEY is a key of.
    Column("is_bootstrap", Boolean, nullable=False, server_default=text("false")),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("client_id", Uuid, nullable=False),
    Column("name", Text),
    Column("scope", Text, nullable=False),
    Column("prefix", Text),
    Column("key_hash", LargeBinary, nullable=False),
    Column("is_bootstrap", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", TimestampColumn, nullable=False, server_default=text("now()")),
    Column("expires_at", TimestampColumn),
    Column("last_used_on", Date),
    Column("revoked_at", TimestampColumn),
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
    # The time of the newest posting. No later posting gets an earlier time, even if a clock is
    # set back, so that "the balance at a time" has one answer.
    Column("posted_at", TimestampColumn, nullable=False, server_default=text("now()")),
    # The owner's own id of the wallet, unique among the wallets of that owner.
    Column("external_id", Text),
)

# The resource that a client created under a key. See `ledger.resources.idempotency`.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("client_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("resource_id", Uuid, nullable=False),
    Column("created_at", TimestampColumn, nullable=False, server_default=text("now()")),
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
    # The clients that may see the transfer. A wallet never changes its owner.
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
    # The era and the transaction that wrote it, see `ledger.polling.recorded_order`; 0 in rows
    # that are older than this column. The era follows the server's timeline; an operator who
    # accepts a server gives the column another distance between the two.
    Column(
        "recorded_order",
        BigInteger,
        nullable=False,
        server_default=text(
            "((('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint + 0)"
            " << 52) + pg_current_xact_id()::text::bigint"
        ),
    ),
)

# See `ledger.polling.eras`. earlier_until: in the first era, the time of the newest older row.
recording_eras = Table(
    "recording_eras",
    metadata,
    Column("era", SmallInteger, primary_key=True),
    Column("system", Text, nullable=False),
    Column("timeline", Text, nullable=False),
    Column("earlier_until", TimestampColumn),
    Column("began_at", TimestampColumn, nullable=False, server_default=text("now()")),
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
    # The batch that it moves in; null until a reserve has claimed it.
    Column("batch_id", Uuid),
    # The earlier transfer that must end before it is judged again, see `ledger.funds.waits`.
    Column("waits_for", Uuid),
    # A decided failure: no step moves it forward any more, only rollback moves it back.
    Column("failure_code", Text),
    Column("failure_detail", Text),
    Column("redrives", Integer, nullable=False, server_default=text("0")),
    Column("reserved_at", TimestampColumn),
    Column("deducted_at", TimestampColumn),
    Column("credited_at", TimestampColumn),
    # The time of its last step or re-drive; the recovery scan compares it with the clock.
    Column("moved_at", TimestampColumn, nullable=False, server_default=text("now()")),
    # The locked wallet because of which it was set aside, see `ledger.blocked`.
    Column("blocked_by", Uuid),
    # The same for all transfers of a client: clients take turns, see `ledger.reserve`.
    Column("turn", Uuid, nullable=False, server_default=text(f"'{UUID(int=0)}'")),
)

# Wallets that another session of the database keeps locked.
blocked_wallets = Table(
    "blocked_wallets",
    metadata,
    Column("wallet_id", Uuid, primary_key=True),
    Column("since", TimestampColumn, nullable=False, server_default=text("now()")),
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

# Buffered requests that were rejected because they are invalid. See `ledger.buffer.rejected`.
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

# Buffer entries that were not replayed, for an operator. See `ledger.buffer.set_aside`.
set_aside_entries = Table(
    "set_aside_entries",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("reason", Text, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("set_aside_at", TimestampColumn, nullable=False, server_default=text("now()")),
    Column("transfer_id", Uuid),
)

# Requests that the buffer has lost. See `ledger.buffer.missing`.
missing_requests = Table(
    "missing_requests",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("noticed_at", TimestampColumn, nullable=False, server_default=text("now()")),
    Column("reported_at", TimestampColumn),
)

# Not the ledger's: which installation the database belongs to, in one row. See
# `ledger.postgres.installation`.
installation = Table(
    "installation",
    metadata,
    Column("is_only", Boolean, primary_key=True, server_default=text("true")),
    Column("id", Text, nullable=False),
    Column("recorded_at", TimestampColumn, nullable=False, server_default=text("now()")),
)

# Not the ledger's: the last known price of each symbol, used when the cache has none.
last_prices = Table(
    "last_prices",
    metadata,
    Column("symbol", Text, primary_key=True),
    Column("price", Numeric, nullable=False),
    Column("as_of", TimestampColumn, nullable=False),
)
