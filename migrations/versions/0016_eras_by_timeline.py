"""Eras by timeline: a failover begins a new era of the order of recording by itself."""

from alembic import op
from sqlalchemy import text

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

LAST = text("""
SELECT era - ('x' || timeline)::bit(32)::bigint FROM recording_eras ORDER BY era DESC LIMIT 1
""")
# The timeline of the server is read for each row: a promotion shows in it at once.
ORDER = """
ALTER TABLE transfers ALTER COLUMN recorded_order SET DEFAULT
    ((('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint + ({offset}))
    << 52) + pg_current_xact_id()::text::bigint
"""


def upgrade() -> None:
    offset = op.get_bind().scalar(LAST)
    op.execute(ORDER.format(offset=int(offset)))


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
