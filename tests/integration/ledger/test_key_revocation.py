"""Key revocation: the statement in SECURITY.md revokes one API key."""

from __future__ import annotations

import re

from sqlalchemy import text

from ledger import clients
from ledger.postgres.database import transaction
from testing.bank import Bank
from testing.servers.shared import ROOT


def test_the_documented_statement_revokes_one_key(shared_bank: Bank) -> None:
    (statement,) = re.findall(r"UPDATE clients .*", (ROOT / "SECURITY.md").read_text())
    with transaction(shared_bank.engine) as connection:
        lost, lost_key = clients.create_client(
            connection, name="lost", scope="client", rate_limit=None
        )
        kept, kept_key = clients.create_client(
            connection, name="kept", scope="client", rate_limit=None
        )
    with transaction(shared_bank.engine) as connection:
        connection.execute(text(statement), {"id": lost.id})
    with transaction(shared_bank.engine) as connection:
        assert clients.find_client(connection, lost_key) is None
        assert clients.find_client(connection, kept_key) == kept
