"""Order of recording: the transfers in an order in which none appears before one already read."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# A constant default, so that the rows that are there are not written again: they have the order
# of their times, and come first. The lock of the first statement waits until all of them are
# committed, and the index, which is built in 0018, is without them.
ORDER = """
ALTER TABLE transfers ADD COLUMN recorded_order bigint NOT NULL DEFAULT 0;
ALTER TABLE transfers ALTER COLUMN recorded_order
    SET DEFAULT (1::bigint << 52) + pg_current_xact_id()::text::bigint;
"""

ERAS = """
CREATE TABLE recording_eras (
    era           smallint PRIMARY KEY,
    system        text NOT NULL,
    timeline      text NOT NULL,
    earlier_until timestamptz,
    began_at      timestamptz NOT NULL DEFAULT now()
);
INSERT INTO recording_eras (era, system, timeline, earlier_until)
SELECT 1, system_identifier::text, substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
       (SELECT max(created_at) FROM transfers)
FROM pg_control_system();
"""


def upgrade() -> None:
    for script in (ORDER, ERAS):
        op.execute(script)


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
