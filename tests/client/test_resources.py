"""Every resource of the API by the client, against the real one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

import truepenny
from stack.servers.ports import LOOPBACK
from tests.client.conftest import Engine
from truepenny import UNCHANGED, NewTransfer, Truepenny


def test_wallets_are_made_found_described_and_listed(tp: Truepenny) -> None:
    external_id = f"account {uuid.uuid4()}"
    made = tp.wallets.create(asset="USD", name="Ada", external_id=external_id, metadata={"n": 1})
    assert (made.status, made.available, made.name) == ("active", Decimal(0), "Ada")
    assert made.owner == tp.me().client.id
    assert tp.wallets.get(made.id) == made
    assert [each.id for each in tp.wallets.list(external_id=external_id)] == [made.id]
    assert tp.wallets.update(made.id, name=None, metadata=UNCHANGED).metadata == {"n": 1}
    assert tp.wallets.update(made.id, metadata={"n": Decimal("2.50")}).name is None
    assert tp.wallets.get(made.id).metadata == {"n": Decimal("2.50")}
    with pytest.raises(truepenny.InvalidState):
        tp.wallets.create(asset="USD", external_id=external_id)
    with pytest.raises(truepenny.NotFound):
        tp.wallets.get(uuid.uuid4())


def test_a_wallet_is_made_once_for_a_key(tp: Truepenny) -> None:
    key = str(uuid.uuid4())
    assert len({tp.wallets.create(asset="EUR", idempotency_key=key).id for _ in range(3)}) == 1


def test_wallets_are_frozen_and_closed_by_an_admin(tp: Truepenny, admin: Truepenny) -> None:
    wallet = tp.wallets.create(asset="USD")
    with pytest.raises(truepenny.Forbidden):
        tp.wallets.freeze(wallet.id)
    assert admin.wallets.freeze(wallet.id).status == "frozen"
    assert admin.wallets.unfreeze(wallet.id).status == "active"
    assert admin.wallets.close(wallet.id).status == "closed"
    assert wallet.id in {each.id for each in admin.wallets.list(status="closed")}


def test_postings_and_balances_tell_what_a_wallet_held(tp: Truepenny, running: Engine) -> None:
    source, destination = running.wallet(10), running.wallet()
    for amount in ("1", "2"):
        tp.transfers.create(
            source=source.id, destination=destination.id, amount=amount, asset="USD"
        ).wait(20)
    newest, oldest = tp.wallets.postings(destination.id, page_size=1)
    assert (newest.amount, newest.balance_after, oldest.amount) == (
        Decimal(2),
        Decimal(3),
        Decimal(1),
    )
    assert tp.wallets.balance_at(destination.id, oldest.created_at).balance == 1
    with pytest.raises(ValueError, match="time zone"):
        tp.wallets.balance_at(destination.id, datetime(2026, 1, 31))  # noqa: DTZ001 - that is it
    both = tp.balances.list([destination.id, source.id])
    assert [(each.wallet_id, each.available) for each in both] == [
        (str(destination.id), Decimal(3)),
        (str(source.id), Decimal(7)),
    ]


def test_assets_and_prices_are_read(tp: Truepenny, admin: Truepenny) -> None:
    code = f"T{uuid.uuid4().hex[:6].upper()}"
    made = admin.assets.create(code=code, scale=3)
    assert admin.assets.create(code=code, scale=3) == made
    assert made in list(tp.assets.list(page_size=2))
    for price in tp.prices.list():
        assert tp.prices.get(price.symbol).price > 0
    with pytest.raises(truepenny.NotFound):
        tp.prices.get("NOSUCH")


def test_clients_and_keys_are_made_and_ended(admin: Truepenny, running: Engine) -> None:
    made = admin.clients.create(name="shop", rate_limit="none", item_limit="none")
    assert made.api_key is not None
    assert made.api_key not in repr(made)
    with Truepenny(base_url=f"http://{LOOPBACK}:{running.port}", api_key=made.api_key) as shop:
        assert shop.me().client.name == "shop"
        expiry = datetime.now(timezone.utc) + timedelta(days=1)  # noqa: UP017 - as users write it
        key = shop.keys.create(made.id, name="reader", scope="read", expires_at=expiry)
        assert key.api_key not in repr(key)
        assert "reader" in {each.name for each in shop.keys.list(made.id)}
        assert shop.keys.delete(made.id, key.id) is None
        assert "reader" not in {each.name for each in shop.keys.list(made.id)}
    assert admin.clients.disable(made.id).status == "disabled"
    assert admin.clients.enable(made.id).status == "active"
    assert admin.clients.get(made.id) in list(admin.clients.list())


def test_the_books_are_checked_on_demand(admin: Truepenny) -> None:
    begun = admin.reconciliations.begin()
    found = admin.reconciliations.get(begun.id)
    assert found.findings is not None
    assert begun.id in {each.id for each in admin.reconciliations.list()}


def test_a_batch_is_cut_and_answered_in_order(tp: Truepenny, running: Engine) -> None:
    source, destination = running.wallet(100), running.wallet()
    nowhere = uuid.uuid4()
    items = [
        NewTransfer(
            source=source.id,
            destination=nowhere if number == 3 else destination.id,
            amount=1000 if number == 7 else 1,
            asset="USD",
        )
        for number in range(25)
    ]
    results = list(tp.transfers.batch(items, size=10))
    assert [each.idempotency_key for each in results] == [each.idempotency_key for each in items]
    assert isinstance(results[3].error, truepenny.WalletNotFound)
    assert isinstance(results[7].error, truepenny.InsufficientFunds)
    accepted = [each for each in results if each.is_accepted]
    assert len(accepted) == 23
    for each in accepted:
        assert tp.transfers.resume(each.idempotency_key).wait(30).id == each.transfer_id


def test_a_batch_with_a_wrong_key_says_so_of_each_that_was_taken(running: Engine) -> None:
    taken: list[str] = []
    results: list[truepenny.BatchResult] = []

    def items() -> Iterator[NewTransfer]:
        for _ in range(10):
            item = NewTransfer(source="s", destination="d", amount=1, asset="USD")
            taken.append(item.idempotency_key)
            yield item

    tp = Truepenny(base_url=f"http://{LOOPBACK}:{running.port}", api_key="wrong")
    with tp, pytest.raises(truepenny.Unauthenticated):
        results.extend(tp.transfers.batch(items(), size=3))
    assert [each.idempotency_key for each in results] == taken
    kinds = [type(each.error) for each in results]
    assert kinds == [truepenny.Unauthenticated] * 3 + [truepenny.NotRecorded]


def test_the_asynchronous_client_has_every_resource(running: Engine) -> None:
    async def main() -> None:
        async with running.async_client() as tp:
            wallet = await tp.wallets.create(asset="USD")
            assert wallet.id in {each.id async for each in tp.wallets.list(page_size=2)}
            assert await tp.balances.list([wallet.id])
            assert [each async for each in tp.wallets.postings(wallet.id)] == []
            assert [each async for each in tp.assets.list()]
            assert isinstance(await tp.prices.list(), tuple)
            me = await tp.me()
            assert [each async for each in tp.keys.list(me.client.id)]
            with pytest.raises(truepenny.Forbidden):
                await tp.reconciliations.begin()
            with pytest.raises(truepenny.Forbidden):
                await tp.clients.create(name="x")

    asyncio.run(main())


def test_both_faces_have_the_same_calls() -> None:
    def calls(face: type) -> dict[str, set[str]]:
        one = face(base_url="http://127.0.0.1:1", api_key="none")
        groups = {name: value for name, value in vars(one).items() if name[0] != "_"}
        found = {
            name: {each for each in dir(group) if each[0] != "_"} for name, group in groups.items()
        }
        return {**found, "": {each for each in dir(face) if each[0] != "_"}}

    assert calls(truepenny.Truepenny) == calls(truepenny.AsyncTruepenny)
