"""Progress of a consistency scan: how many rows a run has read, and how many it has to read."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# Estimates. A run of the version before leaves them at zero, and the API then shows no progress.
COLUMNS = """
ALTER TABLE reconciliations
    ADD COLUMN transfers_total bigint NOT NULL DEFAULT 0,
    ADD COLUMN rows_read bigint NOT NULL DEFAULT 0,
    ADD COLUMN rows_total bigint NOT NULL DEFAULT 0;
"""


def upgrade() -> None:
    op.execute(COLUMNS)


def downgrade() -> None:
    op.execute(
        "ALTER TABLE reconciliations DROP COLUMN transfers_total, DROP COLUMN rows_read,"
        " DROP COLUMN rows_total"
    )
