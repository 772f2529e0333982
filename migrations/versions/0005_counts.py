"""Counts of ended transfers, and the small indexes that extend them."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Rows are inserted nearly in the order of their times, so an index of a few pages is enough, and
# no cost to the steps could be measured.
INDEXES = """
CREATE INDEX outcomes_by_end ON outcomes USING brin (finished_at)
    WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX refused_requests_by_end ON refused_requests USING brin (refused_at)
    WITH (pages_per_range = 32, autosummarize = on);
"""

TABLE = """
CREATE TABLE ended_counts (
    state text PRIMARY KEY CONSTRAINT ended_counts_state
          CHECK (state IN ('committed', 'rejected', 'rolled_back')),
    count bigint NOT NULL DEFAULT 0 CONSTRAINT ended_counts_not_negative CHECK (count >= 0),
    up_to timestamptz NOT NULL
) WITH (fillfactor = 50);
"""

# Recent ends are left to the first count: an older version may still be writing.
SEED = """
INSERT INTO ended_counts (state, count, up_to)
SELECT named.state, count(ended.at), now() - interval '10 minutes'
FROM unnest(ARRAY['committed', 'rejected', 'rolled_back']) AS named (state)
LEFT JOIN (
    SELECT state, finished_at AS at FROM outcomes
    UNION ALL SELECT 'rejected', refused_at FROM refused_requests
) AS ended ON ended.state = named.state AND ended.at <= now() - interval '10 minutes'
GROUP BY named.state;
"""


def upgrade() -> None:
    for script in (INDEXES, TABLE, SEED):
        op.execute(script)


def downgrade() -> None:
    op.execute("DROP TABLE ended_counts")
    op.execute("DROP INDEX outcomes_by_end")
    op.execute("DROP INDEX refused_requests_by_end")
