"""Keys in an outage: what was revoked or disabled before it, or expires in it, is refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from ledger.clients import Client, create_client, hash_key
from ledger.keys.changes import create_key, disable_client, revoke_key
from ledger.keys.credentials import Credential, find_credential
from ledger.postgres.database import transaction
from testing.http_client import Caller
from testing.installation import Installation

pytestmark = pytest.mark.chaos

KNOWN_WITHIN_S = 10.0


class Guest:
    """A client whose key every API process has seen."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        with transaction(installation.engine) as connection:
            self.client: Client
            self.client, self.api_key = create_client(
                connection, name="guest", scope="client", rate_limit="none"
            )
            found = find_credential(connection, self.api_key)
        assert found is not None
        self.credential: Credential = found.credential
        assert self.answers() == {200}

    def answers(self, path: str = "/v1/wallets") -> set[int]:
        """Return the statuses over enough new connections to reach every process of the API."""
        port = self.installation.client.port
        return {Caller(port, self.api_key).get(path).status_code for _ in range(12)}

    def revoke(self) -> None:
        key_id = self.credential.key.id
        with transaction(self.installation.engine) as connection:
            revoke_key(connection, self.client.id, key_id, by=self.credential)


def test_a_key_that_nobody_used_since_it_was_revoked_is_refused_by_every_process(
    installation: Installation,
) -> None:
    revoked, disabled, kept = (Guest(installation) for _ in range(3))
    revoked.revoke()
    with transaction(installation.engine) as connection:
        disable_client(connection, disabled.client.id)
    time.sleep(KNOWN_WITHIN_S)
    with installation.outage(), installation.another_api("started-later") as started:
        assert revoked.answers() == {401}
        assert disabled.answers() == {401}
        assert kept.answers() == {503}  # let in, but there is no database to read from
        for guest, status in ((revoked, 401), (disabled, 401), (kept, 503)):
            caller = Caller(started.port, guest.api_key)
            assert caller.get("/v1/wallets").status_code == status
    assert kept.answers() == {200}


def test_a_copy_of_a_revoked_key_that_somebody_restores_in_the_cache_lets_nobody_in(
    installation: Installation,
) -> None:
    guest = Guest(installation)
    cache = redis.Redis.from_url(installation.environment["CACHE_URL"])
    mine = hash_key(guest.api_key).hex()
    [name] = [key for key in cache.scan_iter() if mine in key.decode() and b"key:" in key]
    copy: Any = cache.get(name)
    guest.revoke()
    time.sleep(KNOWN_WITHIN_S)
    assert cache.get(name) is None
    with installation.outage():
        for key in list(cache.scan_iter()):
            if mine in key.decode():
                cache.delete(key)
        cache.set(name, copy)
        assert guest.answers() == {401}


def test_a_process_that_was_cut_off_from_the_database_learns_of_a_revocation_from_the_cache(
    installation: Installation,
) -> None:
    guest = Guest(installation)
    with installation.another_api(
        "cut-off", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none"
    ) as cut_off:
        caller = Caller(cut_off.port, guest.api_key)
        assert caller.get("/v1/wallets").status_code == 503  # known, from the copy in the cache
        guest.revoke()
        time.sleep(KNOWN_WITHIN_S)
        assert caller.get("/v1/wallets").status_code == 401


def test_a_key_expires_in_an_outage(installation: Installation) -> None:
    guest = Guest(installation)
    with transaction(installation.engine) as connection:
        _, guest.api_key = create_key(
            connection,
            guest.client.id,
            by=guest.credential,
            name=None,
            scope="write",
            expires_at=datetime.now(UTC) + timedelta(seconds=12),
        )
    assert guest.answers() == {200}
    with installation.outage():
        assert guest.answers() == {503}
        time.sleep(12)
        assert guest.answers() == {401}
