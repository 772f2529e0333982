"""Transfers by the client: moved once, answered typed, refused as errors, found again by key."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import uuid
from decimal import Decimal

import pytest

import truepenny
from tests.client.conftest import Engine
from truepenny import NewTransfer, Truepenny


def test_a_transfer_moves_money_and_can_be_waited_for(tp: Truepenny, running: Engine) -> None:
    source, destination = running.wallet(10), running.wallet()
    sent = tp.transfers.create(
        source=source.id, destination=destination.id, amount=Decimal("2.50"), asset="USD"
    )
    done = sent.wait(20)
    assert done.is_committed
    assert done.amount == Decimal("2.50")
    assert tp.wallets.get(destination.id).available == Decimal("2.50")
    assert tp.transfers.get(done.id).timeline is not None
    assert done.id == truepenny.transfer_id(tp.me().client.id, str(done.idempotency_key))


def test_the_same_key_moves_it_once(tp: Truepenny, running: Engine) -> None:
    source, destination = running.wallet(10), running.wallet()
    sent = {
        tp.transfers.create(
            source=source.id,
            destination=destination.id,
            amount="1",
            asset="USD",
            idempotency_key=str(source.id),
            wait=10,
        ).id
        for _ in range(3)
    }
    assert len(sent) == 1
    assert tp.wallets.get(destination.id).balance == 1
    with pytest.raises(truepenny.IdempotencyKeyReused):
        tp.transfers.create(
            source=source.id,
            destination=destination.id,
            amount="2",
            asset="USD",
            idempotency_key=str(source.id),
        )


def test_a_key_may_have_any_printable_characters(tp: Truepenny, running: Engine) -> None:
    source, destination = running.wallet(10), running.wallet()
    key = f"Ünïcode → {source.id}"
    sent = tp.transfers.create(
        source=source.id, destination=destination.id, amount=1, asset="USD", idempotency_key=key
    )
    assert sent.idempotency_key == key
    assert tp.transfers.resume(key).id == sent.id == truepenny.transfer_id(tp.me().client.id, key)


def test_a_refusal_is_an_error_of_its_own_class(tp: Truepenny, running: Engine) -> None:
    source, destination = running.wallet(1), running.wallet()
    with pytest.raises(truepenny.InsufficientFunds) as caught:
        tp.transfers.create(
            source=source.id, destination=destination.id, amount=Decimal(2), asset="USD"
        )
    assert caught.value.request_id
    assert caught.value.transfer_id
    failed = tp.transfers.get(caught.value.transfer_id)
    assert failed.has_failed
    with pytest.raises(truepenny.InsufficientFunds):
        failed.wait(1)
    with pytest.raises(truepenny.WalletNotFound):
        tp.transfers.create(source=source.id, destination=uuid.uuid4(), amount=1, asset="USD")
    with pytest.raises(truepenny.InvalidRequest) as invalid:
        tp.transfers.create(source="x", destination=destination.id, amount="0.001", asset="USD")
    assert [each.pointer for each in invalid.value.errors] == ["/source"]


@pytest.mark.parametrize("amount", [1.0, True, None, Decimal("NaN"), "one", Decimal("1E+999999")])
def test_what_is_no_exact_amount_is_refused_before_any_request(amount: object) -> None:
    nobody = Truepenny(base_url="http://127.0.0.1:1", api_key="none", retries=0)
    with pytest.raises((TypeError, ValueError)) as caught:
        nobody.transfers.create(source="s", destination="d", amount=amount, asset="USD")  # type: ignore[arg-type]
    assert isinstance(caught.value, TypeError) is not isinstance(amount, Decimal | str)
    with pytest.raises((TypeError, ValueError)):
        NewTransfer(source="s", destination="d", amount=amount, asset="USD")  # type: ignore[arg-type]


def test_metadata_keeps_its_digits_on_the_way_there_and_back(
    tp: Truepenny, running: Engine
) -> None:
    source, destination = running.wallet(1), running.wallet()
    metadata = {"rate": Decimal("1.10000000000000000001"), "tags": ["a", "ü"], "n": 3}
    sent = tp.transfers.create(
        source=source.id, destination=destination.id, amount=1, asset="USD", metadata=metadata
    )
    assert tp.transfers.get(sent.id).metadata == metadata


def test_what_became_of_a_transfer_is_found_by_its_key(tp: Truepenny, running: Engine) -> None:
    source, destination = running.wallet(10), running.wallet()
    key = f"order {source.id}"
    with pytest.raises(truepenny.NotSeenYet):
        tp.transfers.resume(key)
    sent = tp.transfers.create(
        source=source.id, destination=destination.id, amount=1, asset="USD", idempotency_key=key
    )
    assert tp.transfers.resume(key).wait(20).id == sent.id


def test_answers_are_frozen_and_can_be_copied_and_stored(tp: Truepenny, running: Engine) -> None:
    source, destination = running.wallet(1), running.wallet()
    sent = tp.transfers.create(
        source=source.id, destination=destination.id, amount=1, asset="USD", wait=10
    )
    with pytest.raises(AttributeError):
        sent.state = "committed"  # type: ignore[misc]
    stored = pickle.loads(pickle.dumps(sent))  # noqa: S301 - our own
    assert stored == sent == copy.deepcopy(sent)
    assert hash(stored) == hash(sent)
    assert running.keys["client"].encode() not in pickle.dumps(sent)
    assert running.keys["client"] not in repr(tp) + repr(sent) + repr(vars(tp))


def test_lists_are_read_page_by_page(tp: Truepenny, running: Engine) -> None:
    source, destination = running.wallet(10), running.wallet()
    items = [
        NewTransfer(source=source.id, destination=destination.id, amount=1, asset="USD")
        for _ in range(5)
    ]
    ids = [result.transfer_id for result in tp.transfers.batch(items)]
    listed = tp.transfers.list(wallet=destination.id, page_size=2)
    assert {each.id for each in listed} == set(ids)
    poller = tp.transfers.list(wallet=destination.id, order="recorded", page_size=2)
    assert {each.id for each in poller} == set(ids)
    again = tp.transfers.list(wallet=destination.id, order="recorded", cursor=poller.cursor)
    assert list(again) == []


def test_the_asynchronous_client_does_the_same(running: Engine) -> None:
    source, destination = running.wallet(10), running.wallet()

    async def main() -> None:
        async with running.async_client() as tp:
            item = NewTransfer(source=source.id, destination=destination.id, amount=1, asset="USD")
            sent = await asyncio.gather(
                *(
                    tp.transfers.create(
                        source=source.id, destination=destination.id, amount=1, asset="USD"
                    )
                    for _ in range(3)
                )
            )
            for each in sent:
                assert (await each.wait(20)).is_committed
            assert [each.is_accepted async for each in tp.transfers.batch([item, item])] == [
                True
            ] * 2
            found = await tp.transfers.resume(item.idempotency_key)
            assert (await found.wait(20)).is_committed
            assert len({each.id async for each in tp.transfers.list(wallet=destination.id)}) == 4
            with pytest.raises(truepenny.InsufficientFunds):
                await tp.transfers.create(
                    source=source.id, destination=destination.id, amount=99, asset="USD"
                )
            assert (await tp.wallets.get(destination.id)).balance == 4

    asyncio.run(main())


def test_a_client_that_was_made_before_a_fork_serves_parent_and_child(running: Engine) -> None:
    wallets = [running.wallet(number) for number in range(2)]
    with running.client() as tp:
        assert tp.wallets.get(wallets[0].id).balance == 0
        child = os.fork()
        if child == 0:
            status = 1
            try:
                found = {tp.wallets.get(wallets[1].id).balance for _ in range(50)}
                status = 0 if found == {Decimal(1)} else 2
            finally:
                os._exit(status)
        found = {tp.wallets.get(wallets[0].id).balance for _ in range(50)}
        assert found == {Decimal(0)}
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
