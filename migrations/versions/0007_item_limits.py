"""Limits of clients: how many transfers each may store."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# The first admin has no limits; it is made with both from now on.
LIMITS = """
ALTER TABLE clients ADD COLUMN item_limit text;
UPDATE clients SET item_limit = 'none' WHERE scope = 'admin' AND rate_limit = 'none';
"""


def upgrade() -> None:
    op.execute(LIMITS)


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
