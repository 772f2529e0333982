"""Indexes on tables that may be large, built while the version before goes on writing."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Built before the migration, see `migrations.revisions`. The external id comes first in its index,
# so that an admin, who sees all owners, finds it too.
CONCURRENT_INDEXES = {
    "transfers_by_recording": """
CREATE INDEX {how} transfers_by_recording ON transfers (recorded_order) WHERE recorded_order > 0
""",
    "wallets_one_external_id_per_owner": """
CREATE UNIQUE INDEX {how} wallets_one_external_id_per_owner ON wallets (external_id, owner_id)
    WHERE external_id IS NOT NULL
""",
}


def upgrade() -> None:
    for statement in CONCURRENT_INDEXES.values():
        op.execute(statement.format(how="IF NOT EXISTS"))


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
