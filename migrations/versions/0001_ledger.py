"""Ledger tables: assets, clients, wallets, transfers and their postings."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE assets (
    code  text PRIMARY KEY CHECK (code ~ '^[A-Z0-9]{2,12}$'),
    scale smallint NOT NULL CHECK (scale BETWEEN 0 AND 18)
);

CREATE TABLE clients (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    scope      text NOT NULL CONSTRAINT clients_scope CHECK (scope IN ('client', 'admin')),
    key_hash   bytea NOT NULL CONSTRAINT clients_key_hash UNIQUE,
    rate_limit text,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A row is updated in place very often: the low fill factor leaves room for that.
CREATE TABLE wallets (
    id         uuid PRIMARY KEY,
    owner_id   uuid REFERENCES clients,
    asset      text NOT NULL REFERENCES assets,
    kind       text NOT NULL
               CONSTRAINT wallets_kind CHECK (kind IN ('customer', 'house', 'external', 'transit')),
    name       text,
    status     text NOT NULL DEFAULT 'active'
               CONSTRAINT wallets_status CHECK (status IN ('active', 'frozen', 'closed')),
    balance    numeric(38, 0) NOT NULL DEFAULT 0,
    reserved   numeric(38, 0) NOT NULL DEFAULT 0,
    incoming   numeric(38, 0) NOT NULL DEFAULT 0,
    metadata   jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    posted_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT wallets_id_and_asset UNIQUE (id, asset),
    CONSTRAINT wallets_reserved_not_negative CHECK (reserved >= 0),
    CONSTRAINT wallets_incoming_not_negative CHECK (incoming >= 0),
    CONSTRAINT wallets_no_overdraft
        CHECK (kind = 'external' OR balance - reserved - incoming >= 0),
    CONSTRAINT wallets_closed_is_empty
        CHECK (status <> 'closed' OR (balance = 0 AND reserved = 0 AND incoming = 0))
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX wallets_one_transit_per_asset ON wallets (asset) WHERE kind = 'transit';
CREATE INDEX wallets_by_owner ON wallets (owner_id, created_at, id);
CREATE INDEX wallets_by_age ON wallets (created_at, id);
CREATE INDEX wallets_inactive ON wallets (id) WHERE status <> 'active';

CREATE TABLE transfers (
    id                   uuid PRIMARY KEY,
    client_id            uuid NOT NULL,
    idempotency_key      text NOT NULL,
    fingerprint          bytea NOT NULL,
    source_id            uuid NOT NULL,
    destination_id       uuid NOT NULL,
    source_owner_id      uuid,
    destination_owner_id uuid,
    asset                text NOT NULL,
    amount               numeric(38, 0) NOT NULL,
    capture              text NOT NULL DEFAULT 'auto'
                         CONSTRAINT transfers_capture CHECK (capture IN ('auto', 'manual')),
    expires_at           timestamptz,
    reference            text,
    metadata             jsonb NOT NULL DEFAULT '{}',
    refund_of            uuid,
    group_id             uuid,
    created_at           timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT transfers_amount_positive CHECK (amount > 0),
    CONSTRAINT transfers_two_wallets CHECK (source_id <> destination_id),
    -- With the asset in the key, no transfer can join wallets of different assets.
    CONSTRAINT transfers_source FOREIGN KEY (source_id, asset) REFERENCES wallets (id, asset),
    CONSTRAINT transfers_destination
        FOREIGN KEY (destination_id, asset) REFERENCES wallets (id, asset)
);
CREATE INDEX transfers_by_source ON transfers (source_id, created_at);
CREATE INDEX transfers_by_destination ON transfers (destination_id, created_at);
CREATE INDEX transfers_by_source_owner ON transfers (source_owner_id, created_at);
CREATE INDEX transfers_by_destination_owner ON transfers (destination_owner_id, created_at);
CREATE INDEX transfers_by_age ON transfers (created_at);

-- Small and hot: vacuumed after a number of changes, not a share of its size, and with room on
-- each page for the versions of a row. It repeats the columns of a transfer that the steps need,
-- which never change, so that the steps do not read the large table.
CREATE TABLE unfinished (
    transfer_id    uuid PRIMARY KEY,
    seq            bigint GENERATED ALWAYS AS IDENTITY,
    source_id      uuid NOT NULL,
    transit_id     uuid NOT NULL,
    destination_id uuid NOT NULL,
    amount         numeric(38, 0) NOT NULL,
    state          text NOT NULL DEFAULT 'accepted' CONSTRAINT unfinished_state
                   CHECK (state IN ('accepted', 'reserved', 'deducted', 'credited')),
    batch_id       uuid,
    failure_code   text,
    failure_detail text,
    redrives       integer NOT NULL DEFAULT 0,
    reserved_at    timestamptz,
    deducted_at    timestamptz,
    credited_at    timestamptz,
    moved_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT unfinished_driven CHECK (state = 'accepted' OR batch_id IS NOT NULL),
    CONSTRAINT unfinished_failure CHECK ((failure_code IS NULL) = (failure_detail IS NULL)),
    CONSTRAINT unfinished_times CHECK (
        (state = 'accepted') = (reserved_at IS NULL)
        AND (state IN ('accepted', 'reserved')) = (deducted_at IS NULL)
        AND (state <> 'credited') = (credited_at IS NULL))
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX unfinished_unclaimed ON unfinished (seq) WHERE batch_id IS NULL;
CREATE INDEX unfinished_by_batch ON unfinished (batch_id);

CREATE TABLE outcomes (
    transfer_id    uuid PRIMARY KEY,
    state          text NOT NULL CONSTRAINT outcomes_state
                   CHECK (state IN ('committed', 'rejected', 'rolled_back')),
    failure_code   text,
    failure_detail text,
    batch_id       uuid,
    reserved_at    timestamptz,
    deducted_at    timestamptz,
    credited_at    timestamptz,
    finished_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT outcomes_failure CHECK (
        (state = 'committed') = (failure_code IS NULL)
        AND (failure_code IS NULL) = (failure_detail IS NULL)),
    CONSTRAINT outcomes_times CHECK (CASE state
        WHEN 'committed' THEN num_nulls(reserved_at, deducted_at, credited_at) = 0
        WHEN 'rejected' THEN num_nonnulls(reserved_at, deducted_at, credited_at) = 0
        ELSE reserved_at IS NOT NULL END)
);
CREATE INDEX outcomes_failed ON outcomes (state, finished_at) WHERE state <> 'committed';

-- The wallet ids come from `unfinished`, so from `transfers`; foreign keys here would make the
-- steps a quarter slower (docs/decisions.md).
CREATE TABLE postings (
    transfer_id          uuid NOT NULL,
    leg                  text NOT NULL CONSTRAINT postings_leg
                         CHECK (leg IN ('deduct', 'credit', 'uncredit', 'refund')),
    seq                  bigint GENERATED ALWAYS AS IDENTITY,
    debit_wallet_id      uuid NOT NULL,
    credit_wallet_id     uuid NOT NULL,
    amount               numeric(38, 0) NOT NULL,
    debit_balance_after  numeric(38, 0) NOT NULL,
    credit_balance_after numeric(38, 0) NOT NULL,
    created_at           timestamptz NOT NULL,
    PRIMARY KEY (transfer_id, leg),
    CONSTRAINT postings_amount_positive CHECK (amount > 0),
    CONSTRAINT postings_two_wallets CHECK (debit_wallet_id <> credit_wallet_id)
);
CREATE INDEX postings_by_debit ON postings (debit_wallet_id, created_at, seq);
CREATE INDEX postings_by_credit ON postings (credit_wallet_id, created_at, seq);

CREATE TABLE events (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transfer_id uuid NOT NULL,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    event       text NOT NULL,
    worker      text,
    attempt     integer,
    detail      text
);
CREATE INDEX events_by_transfer ON events (transfer_id, id);
"""

TRIGGERS = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % refused: rows of this table are final', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER assets_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON assets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER clients_kept BEFORE DELETE OR TRUNCATE ON clients
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER wallets_kept BEFORE DELETE OR TRUNCATE ON wallets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER wallets_identity BEFORE UPDATE OF id, owner_id, asset, kind ON wallets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER outcomes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON outcomes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER postings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON postings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

SEED = """
INSERT INTO assets (code, scale) VALUES
    ('USD', 2), ('EUR', 2), ('USDT', 6), ('BTC', 8), ('BNB', 8), ('ETH', 18);
INSERT INTO wallets (id, asset, kind, name)
    SELECT gen_random_uuid(), code, 'transit', code || ' in transit' FROM assets;
"""


def upgrade() -> None:
    for script in (TABLES, TRIGGERS, SEED):
        op.execute(script)


def downgrade() -> None:
    raise RuntimeError("a ledger is never downgraded; restore a backup instead")
