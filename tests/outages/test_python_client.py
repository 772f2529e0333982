"""The Python client while the database is away: transfers are accepted, told truly, and end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import truepenny
from ledger.ids import transfer_id
from stack.servers.ports import LOOPBACK
from testing.installation import Installation
from truepenny import NewTransfer, Transfer, Truepenny

pytestmark = pytest.mark.chaos
THREADS = 8


@pytest.fixture
def tp(installation: Installation) -> Iterator[Truepenny]:
    url = f"http://{LOOPBACK}:{installation.client.port}"
    with Truepenny(base_url=url, api_key=installation.client.api_key) as client:
        yield client


def create(tp: Truepenny, installation: Installation, key: str) -> Transfer:
    return tp.transfers.create(
        source=installation.source.id,
        destination=installation.destination.id,
        amount=1,
        asset="USD",
        idempotency_key=key,
    )


def test_transfers_of_an_outage_are_buffered_found_by_key_and_waited_for(
    tp: Truepenny, installation: Installation
) -> None:
    keys = [str(uuid.uuid4()) for _ in range(5)]
    items = [
        NewTransfer(
            source=installation.source.id,
            destination=installation.destination.id,
            amount=1,
            asset="USD",
        )
        for _ in range(20)
    ]
    tp.me()  # which client we are is not known without the database
    with installation.outage():
        sent = [create(tp, installation, key) for key in keys]
        assert {each.state for each in sent} == {"buffered"}
        assert tp.transfers.resume(keys[0]).state == "buffered"
        assert create(tp, installation, keys[0]).id == sent[0].id
        results = list(tp.transfers.batch(items))
        assert {each.state for each in results} == {"buffered"}
        with pytest.raises(truepenny.StillUnderWay) as caught:
            sent[0].wait(1)
        assert caught.value.state == "buffered"
    assert all(each.wait(60).is_committed for each in sent)
    for result in results:
        assert tp.transfers.resume(result.idempotency_key).wait(60).id == result.transfer_id


def test_no_transfer_is_doubled_lost_or_misreported_when_the_database_dies_under_load(
    tp: Truepenny, installation: Installation
) -> None:
    keys = [str(uuid.uuid4()) for _ in range(400)]
    before = installation.bank.look(installation.destination).balance
    done, unknown = set[str](), set[str]()

    def submit(key: str) -> None:
        try:
            create(tp, installation, key)
        except truepenny.OutcomeUnknown:
            unknown.add(key)
        else:
            done.add(key)

    with ThreadPoolExecutor(THREADS) as pool:
        for key in keys[:200]:
            pool.submit(submit, key)
        with installation.outage():
            for key in keys[200:]:
                pool.submit(submit, key)
    assert done | unknown == set(keys)
    ids = {key: str(transfer_id(installation.owner.id, key)) for key in keys}
    installation.settles([ids[key] for key in done])
    for key in unknown:  # the same key again makes sure
        assert create(tp, installation, key).wait(60).is_committed
    installation.settles(list(ids.values()))
    moved = installation.bank.look(installation.destination).balance - before
    assert moved == 100 * len(keys)
