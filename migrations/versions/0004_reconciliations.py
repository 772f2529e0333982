"""Consistency scan: its runs, their findings, and how far the postings were read."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE reconciliations (
    id                uuid PRIMARY KEY,
    trigger           text NOT NULL CONSTRAINT reconciliations_trigger
                      CHECK (trigger IN ('schedule', 'operator')),
    state             text NOT NULL DEFAULT 'running' CONSTRAINT reconciliations_state
                      CHECK (state IN ('running', 'finished', 'failed')),
    is_full           boolean NOT NULL,
    phase             text NOT NULL,
    cursor            jsonb NOT NULL DEFAULT '{}',
    chunks            integer NOT NULL DEFAULT 0,
    attempts          integer NOT NULL DEFAULT 0,
    transfers_from    timestamptz,
    transfers_until   timestamptz NOT NULL DEFAULT clock_timestamp(),
    horizon           timestamptz NOT NULL,
    passes            integer NOT NULL DEFAULT 1,
    suspects          jsonb NOT NULL DEFAULT '{}',
    next_suspects     jsonb NOT NULL DEFAULT '{}',
    wallets_checked   bigint NOT NULL DEFAULT 0,
    assets_checked    integer NOT NULL DEFAULT 0,
    transfers_checked bigint NOT NULL DEFAULT 0,
    findings_count    bigint NOT NULL DEFAULT 0,
    standing_count    integer NOT NULL DEFAULT 0,
    started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at       timestamptz,
    CONSTRAINT reconciliations_ended CHECK ((state = 'running') = (finished_at IS NULL))
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX reconciliations_one_running ON reconciliations (state) WHERE state = 'running';
CREATE INDEX reconciliations_by_age ON reconciliations (started_at, id);

CREATE TABLE reconciliation_findings (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reconciliation_id uuid NOT NULL
                      CONSTRAINT reconciliation_findings_run REFERENCES reconciliations,
    kind              text NOT NULL,
    wallet_id         uuid,
    asset             text,
    transfer_id       uuid,
    detail            text NOT NULL,
    action            text NOT NULL CONSTRAINT reconciliation_findings_action
                      CHECK (action IN ('rebuilt', 'frozen', 'alarmed')),
    before            jsonb,
    after             jsonb,
    at                timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX reconciliation_findings_by_run ON reconciliation_findings (reconciliation_id, id);
CREATE TRIGGER reconciliation_findings_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON reconciliation_findings
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Discrepancies that were recorded: while they stand, they are not recorded or acted on again.
CREATE TABLE standing_wrongs (
    key           text PRIMARY KEY,
    wallet_ids    uuid[] NOT NULL, -- whose sum of postings cannot be trusted
    found_in      uuid NOT NULL,
    last_found_in uuid NOT NULL
);

-- How far each wallet's postings were read: their sum, and the balance on the last one.
CREATE TABLE read_positions (
    wallet_id   uuid PRIMARY KEY,
    full_run_id uuid,
    posted_at   timestamptz NOT NULL,
    seq         bigint NOT NULL,
    balance     numeric(38, 0) NOT NULL,
    stamped     numeric(38, 0) NOT NULL
) WITH (fillfactor = 70);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("the findings of the scans are kept; restore a backup instead")
