"""Rejected buffered requests: those that could not become transfers."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# No foreign keys: most of these requests were rejected because they name a missing wallet.
TABLE = """
CREATE TABLE refused_requests (
    id              uuid PRIMARY KEY,
    client_id       uuid NOT NULL,
    idempotency_key text NOT NULL,
    fingerprint     bytea NOT NULL,
    source_id       uuid NOT NULL,
    destination_id  uuid NOT NULL,
    asset           text NOT NULL,
    scale           integer NOT NULL,
    amount          numeric(38, 0) NOT NULL,
    reference       text,
    metadata        jsonb NOT NULL DEFAULT '{}',
    failure_code    text NOT NULL,
    failure_detail  text NOT NULL,
    buffered_at     timestamptz NOT NULL,
    refused_at      timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER refused_requests_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON refused_requests
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
