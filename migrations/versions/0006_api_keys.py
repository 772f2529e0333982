"""API keys in a table of their own, many per client, and clients that can be disabled."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

CLIENTS = """
ALTER TABLE clients
    ADD COLUMN status text NOT NULL DEFAULT 'active'
        CONSTRAINT clients_status CHECK (status IN ('active', 'disabled')),
    ADD COLUMN disabled_at timestamptz,
    ADD COLUMN enabled_at timestamptz,
    ADD COLUMN is_bootstrap boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT clients_disabled_has_time
        CHECK (status <> 'disabled' OR (disabled_at IS NOT NULL AND enabled_at IS NULL)),
    ADD CONSTRAINT clients_bootstrap_is_admin CHECK (NOT is_bootstrap OR scope = 'admin');
CREATE UNIQUE INDEX clients_one_bootstrap ON clients (is_bootstrap) WHERE is_bootstrap;
CREATE INDEX clients_by_age ON clients (created_at, id);
CREATE INDEX clients_disabled ON clients (disabled_at) WHERE disabled_at IS NOT NULL;
"""

KEYS = """
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    client_id    uuid NOT NULL REFERENCES clients,
    name         text,
    scope        text NOT NULL CONSTRAINT api_keys_scope CHECK (scope IN ('read', 'write')),
    prefix       text,
    key_hash     bytea NOT NULL CONSTRAINT api_keys_hash UNIQUE,
    is_bootstrap boolean NOT NULL DEFAULT false,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_on date,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_by_client ON api_keys (client_id, created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX api_keys_revoked ON api_keys (revoked_at, key_hash) WHERE revoked_at IS NOT NULL;

INSERT INTO api_keys (id, client_id, scope, key_hash, created_at)
    SELECT gen_random_uuid(), id, 'write', key_hash, created_at FROM clients;
"""

RULES = """
CREATE TRIGGER api_keys_kept BEFORE DELETE OR TRUNCATE ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER api_keys_identity
    BEFORE UPDATE OF id, client_id, scope, key_hash, created_at, expires_at ON api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- A key that was revoked never comes back.
CREATE TRIGGER api_keys_revoked_for_good BEFORE UPDATE OF revoked_at ON api_keys FOR EACH ROW
    WHEN (OLD.revoked_at IS NOT NULL AND OLD.revoked_at IS DISTINCT FROM NEW.revoked_at)
    EXECUTE FUNCTION refuse_change();
"""

# Version 1.0 knows one key per client, in clients.key_hash. These rules keep both in step while
# the two versions run side by side: what one of them makes or ends is made or ended for the other.
# A hash of random bits stands for "no key": nobody knows what it is the hash of.
BESIDE_VERSION_1_0 = """
CREATE FUNCTION key_for_version_1_0(client uuid) RETURNS bytea LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(
        (SELECT key_hash FROM api_keys
         WHERE client_id = client AND revoked_at IS NULL AND expires_at IS NULL
             AND scope = 'write'
         ORDER BY created_at, id LIMIT 1),
        sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
$$;

-- Its migrations would make another admin of a key that has been replaced.
CREATE FUNCTION refuse_known_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM api_keys WHERE key_hash = NEW.key_hash) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER clients_new_key BEFORE INSERT ON clients
    FOR EACH ROW EXECUTE FUNCTION refuse_known_key();

CREATE FUNCTION make_first_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO api_keys (id, client_id, scope, key_hash, created_at)
        VALUES (gen_random_uuid(), NEW.id, 'write', NEW.key_hash, NEW.created_at);
    RETURN NULL;
END $$;
CREATE TRIGGER clients_first_key AFTER INSERT ON clients
    FOR EACH ROW EXECUTE FUNCTION make_first_key();

-- Its operators end a key by an UPDATE of the hash.
CREATE FUNCTION revoke_old_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE api_keys SET revoked_at = clock_timestamp()
        WHERE key_hash = OLD.key_hash AND revoked_at IS NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER clients_changed_key AFTER UPDATE OF key_hash ON clients FOR EACH ROW
    WHEN (OLD.key_hash IS DISTINCT FROM NEW.key_hash AND OLD.status = NEW.status)
    EXECUTE FUNCTION revoke_old_key();

CREATE FUNCTION end_key_of_client() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE clients SET key_hash = key_for_version_1_0(id)
        WHERE id = NEW.client_id AND key_hash = NEW.key_hash;
    RETURN NULL;
END $$;
CREATE TRIGGER api_keys_ended AFTER UPDATE OF revoked_at ON api_keys FOR EACH ROW
    WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL)
    EXECUTE FUNCTION end_key_of_client();

CREATE FUNCTION keep_key_of_active_client() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'active' THEN
        NEW.key_hash := key_for_version_1_0(NEW.id);
    ELSE
        NEW.key_hash := key_for_version_1_0(NULL);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER clients_changed_status BEFORE UPDATE OF status ON clients FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION keep_key_of_active_client();
"""


def upgrade() -> None:
    for script in (CLIENTS, KEYS, RULES, BESIDE_VERSION_1_0):
        op.execute(script)


def downgrade() -> None:
    raise RuntimeError("revoked keys would work again; restore a backup instead")
