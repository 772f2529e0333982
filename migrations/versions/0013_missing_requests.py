"""Buffered requests that were found neither in the buffer nor in the database."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE missing_requests (
    id          uuid PRIMARY KEY,
    noticed_at  timestamptz NOT NULL DEFAULT now(),
    reported_at timestamptz
);
ALTER TABLE set_aside_entries ADD COLUMN transfer_id uuid;
CREATE INDEX set_aside_entries_by_transfer ON set_aside_entries (transfer_id);
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
