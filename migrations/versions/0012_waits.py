"""Waits: a transfer that lacks funds waits for an earlier one that still brings money."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# The version before does not know the column: it claims those that wait, and judges them at once,
# as it always did.
COLUMN = "ALTER TABLE unfinished ADD COLUMN waits_for uuid"

# No index mentions `state`: it changes with every step, and a step must stay an update in place.
INDEXES = """
CREATE INDEX unfinished_by_destination ON unfinished (destination_id, seq);
CREATE INDEX unfinished_ahead ON unfinished (source_id, seq) WHERE reserved_at IS NULL;
CREATE INDEX unfinished_failed ON unfinished (source_id) WHERE failure_code IS NOT NULL;
CREATE INDEX unfinished_waiting ON unfinished (waits_for, seq) WHERE waits_for IS NOT NULL;
DROP INDEX unfinished_unclaimed;
CREATE INDEX unfinished_unclaimed ON unfinished (seq)
    WHERE batch_id IS NULL AND waits_for IS NULL;
"""


def upgrade() -> None:
    for script in (COLUMN, INDEXES):
        op.execute(script)


def downgrade() -> None:
    op.execute("ALTER TABLE unfinished DROP COLUMN waits_for")  # with the indexes that use it
    op.execute("CREATE INDEX unfinished_unclaimed ON unfinished (seq) WHERE batch_id IS NULL")
    for index in ("unfinished_by_destination", "unfinished_ahead", "unfinished_failed"):
        op.execute(f"DROP INDEX {index}")
