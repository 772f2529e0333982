"""Idempotency keys of new resources, and the ids that clients give to their wallets."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEYS = """
CREATE TABLE idempotency_keys (
    client_id   uuid NOT NULL CONSTRAINT idempotency_keys_client REFERENCES clients,
    kind        text NOT NULL,
    key         text NOT NULL,
    fingerprint bytea NOT NULL,
    resource_id uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, kind, key)
);
CREATE TRIGGER idempotency_keys_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON idempotency_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

# Their index is built in 0018, without stopping writers.
EXTERNAL_IDS = """
ALTER TABLE wallets ADD COLUMN external_id text;
CREATE TRIGGER wallets_external_id BEFORE UPDATE OF external_id ON wallets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    for script in (KEYS, EXTERNAL_IDS):
        op.execute(script)


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
