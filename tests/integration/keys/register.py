"""Register of clients for tests: makes clients and keys, and tells which keys work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from ledger.clients import Scope, create_client
from ledger.keys.changes import create_key, disable_client, enable_client, revoke_key
from ledger.keys.credentials import ApiKey, Credential, KeyScope, find_credential
from ledger.postgres.database import autocommit, transaction


@dataclass(frozen=True)
class Register:
    """The clients of one database."""

    engine: Engine

    def client(self, scope: Scope = "client") -> tuple[Credential, str]:
        """Make a client. Returns: the credential of its first key, and that key in clear."""
        with transaction(self.engine) as connection:
            _, secret = create_client(connection, name=scope, scope=scope, rate_limit=None)
        return self.credential(secret), secret

    def credential(self, secret: str) -> Credential:
        found = self.find(secret)
        assert found is not None
        return found

    def find(self, secret: str) -> Credential | None:
        with autocommit(self.engine) as connection:
            found = find_credential(connection, secret)
        return None if found is None else found.credential

    def key(
        self,
        by: Credential,
        *,
        of: UUID | None = None,
        scope: KeyScope = "write",
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        with transaction(self.engine) as connection:
            return create_key(
                connection,
                of or by.client.id,
                by=by,
                name="another",
                scope=scope,
                expires_at=expires_at,
            )

    def revoke(self, by: Credential, key_id: UUID, *, of: UUID | None = None) -> None:
        with transaction(self.engine) as connection:
            revoke_key(connection, of or by.client.id, key_id, by=by)

    def disable(self, client_id: UUID) -> None:
        with transaction(self.engine) as connection:
            disable_client(connection, client_id)

    def enable(self, client_id: UUID) -> None:
        with transaction(self.engine) as connection:
            enable_client(connection, client_id)

    def is_known_to_version_1_0(self, secret: str) -> bool:
        """Tell whether version 1.0, which reads clients.key_hash alone, lets the key in."""
        query = "SELECT count(*) FROM clients WHERE key_hash = sha256(convert_to(:key, 'UTF8'))"
        return bool(self.run(query, key=secret))

    def run(self, statement: str, **values: object) -> Any:
        """Run SQL. Returns: the first value of its result, if it has one."""
        with transaction(self.engine) as connection:
            result = connection.execute(text(statement), values)
            return result.scalar() if result.returns_rows else None
