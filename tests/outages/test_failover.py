"""The primary dies for good, its standby takes over: nothing that was accepted is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.servers import Servers
from tests.breakable import breakable
from tests.brokers import RedisBroker
from tests.load import load_on
from tests.outages.standby import both, make_synchronous, standby_of
from tests.outages.town import town
from tests.servers import migrate
from tests.worker_processes import eventually

pytestmark = pytest.mark.chaos


def test_a_promoted_standby_goes_on_with_every_accepted_transfer(
    own_servers: tuple[Servers, Path], redis_broker: RedisBroker, cache_url: str
) -> None:
    servers, folder = own_servers
    redis_broker.empty()
    primary = servers.postgres()
    with breakable(primary, folder / "primary.log") as killed:
        migrate(primary.url)
        standby = standby_of(primary)
        with breakable(standby, folder / "standby.log"):
            make_synchronous(primary, standby)
            url = both(primary, standby)
            with town(killed, url, redis_broker, cache_url, folder) as everything:
                with load_on(everything.client, everything.body()) as load:
                    load.goes_on(50)
                    killed.kill()
                    load.goes_on(50)  # with no database at all
                    standby.promote()
                    eventually(everything.is_back)
                    load.goes_on(50)
                assert not load.refused, load.refused[0].text
                everything.engine.dispose()
                everything.settles([str(id) for id in load.accepted])
