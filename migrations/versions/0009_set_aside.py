"""Entries of the intake buffer that were set aside for an operator."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE set_aside_entries (
    digest       bytea PRIMARY KEY,
    seq          bigint GENERATED ALWAYS AS IDENTITY,
    reason       text NOT NULL CONSTRAINT set_aside_entries_reason
                 CHECK (reason IN ('unsigned', 'not_authentic', 'unreadable', 'unknown_client',
                                   'unrecordable')),
    content      bytea NOT NULL CONSTRAINT set_aside_entries_size
                 CHECK (octet_length(content) <= 32768),
    size_bytes   bigint NOT NULL,
    set_aside_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX set_aside_entries_in_order ON set_aside_entries (seq);
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
