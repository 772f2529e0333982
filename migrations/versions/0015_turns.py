"""Turns: each client with waiting transfers gets an equal share of every claim."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# A hash of the client. With the default, rows of the version before and those that are there
# already take turns together, as one client.
TURNS = """
ALTER TABLE unfinished
    ADD COLUMN turn uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
CREATE INDEX unfinished_by_turn ON unfinished (turn, seq)
    WHERE batch_id IS NULL AND waits_for IS NULL;
"""


def upgrade() -> None:
    op.execute(TURNS)


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
