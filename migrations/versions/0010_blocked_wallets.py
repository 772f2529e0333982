"""Locked wallets hold up nobody else: blocked wallets, and transfers checked without row locks."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BLOCKED = """
-- Wallets that another session keeps locked. It has few rows, and mostly none.
CREATE TABLE blocked_wallets (
    wallet_id uuid PRIMARY KEY,
    since     timestamptz NOT NULL DEFAULT now()
);
-- The wallet because of which a transfer was set aside. No step changes it, so the steps' updates
-- stay updates in place.
ALTER TABLE unfinished ADD COLUMN blocked_by uuid;
CREATE INDEX unfinished_blocked ON unfinished (blocked_by) WHERE blocked_by IS NOT NULL;
"""

# A foreign key locks the row that it refers to, so a locked wallet stopped every client whose
# transfers shared a statement with one of that wallet. Wallets are never deleted, and never change
# their asset (the triggers `wallets_kept`, `wallets_identity`), so a look without a lock proves as
# much. The errors keep the names of the keys.
WALLETS = """
CREATE FUNCTION require_wallets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM added LEFT JOIN wallets ON wallets.id = added.source_id
        WHERE wallets.asset IS DISTINCT FROM added.asset
    ) THEN
        RAISE EXCEPTION 'a transfer breaks "transfers_source": no such wallet in its asset'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'transfers_source',
                  TABLE = 'transfers';
    END IF;
    IF EXISTS (
        SELECT FROM added LEFT JOIN wallets ON wallets.id = added.destination_id
        WHERE wallets.asset IS DISTINCT FROM added.asset
    ) THEN
        RAISE EXCEPTION 'a transfer breaks "transfers_destination": no such wallet in its asset'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'transfers_destination',
                  TABLE = 'transfers';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER transfers_wallets AFTER INSERT ON transfers REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION require_wallets();
ALTER TABLE transfers DROP CONSTRAINT transfers_source, DROP CONSTRAINT transfers_destination;
"""


def upgrade() -> None:
    for script in (BLOCKED, WALLETS):
        op.execute(script)


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
