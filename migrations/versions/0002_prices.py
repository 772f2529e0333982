"""Last known prices: one row per symbol, replaced by newer prices."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# NaN is greater than every number in PostgreSQL: the upper bound keeps it out.
TABLES = """
CREATE TABLE last_prices (
    symbol text PRIMARY KEY CONSTRAINT last_prices_symbol CHECK (symbol ~ '^[A-Z0-9]{2,20}$'),
    price  numeric NOT NULL CONSTRAINT last_prices_positive CHECK (price > 0 AND price < 1e18),
    as_of  timestamptz NOT NULL
) WITH (fillfactor = 50);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE last_prices")
