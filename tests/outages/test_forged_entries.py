"""Forged entries in the intake buffer: a stranger with access to broker or cache moves nothing."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest

from ledger.ids import transfer_id
from ledger.wallets import Wallet
from testing.installation import Installation
from testing.worker_processes import eventually

pytestmark = pytest.mark.chaos


def unsigned_entry(
    source: Wallet, destination: Wallet, *, client_id: uuid.UUID, scope: str, key: str
) -> tuple[str, bytes]:
    """Return an entry as version 1.0.0 wrote it, and the id of its transfer."""
    document = {
        "format": 1,
        "at": datetime.now(UTC).isoformat(),
        "client": [str(client_id), "anybody", scope, None],
        "key": key,
        "source": str(source.id),
        "destination": str(destination.id),
        "asset": "USD",
        "scale": 2,
        "amount": 100,
        "reference": None,
        "metadata": None,
    }
    content = json.dumps(document, separators=(",", ":")).encode()
    return str(transfer_id(client_id, key)), content


@pytest.mark.parametrize("scope", ["client", "admin"])
def test_a_forged_entry_moves_nothing(installation: Installation, scope: str) -> None:
    thief = installation.bank.new_client()
    loot = installation.bank.wallet(owner=thief)
    victim = installation.owner.id if scope == "client" else thief.id
    id, content = unsigned_entry(
        installation.source, loot, client_id=victim, scope=scope, key=f"steal-{uuid.uuid4()}"
    )
    installation.broker.forge(id, content)
    ids = installation.buffer_directly(3)
    installation.settles([str(each) for each in ids])
    eventually(lambda: installation.buffer.count() == 0)
    assert installation.bank.states([uuid.UUID(id)]) == {"unknown"}
    assert installation.bank.look(loot).balance == 0
