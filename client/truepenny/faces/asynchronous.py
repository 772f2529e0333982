"""The asynchronous client: each call is awaited."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from truepenny.answers.decoding import Answer
from truepenny.answers.transfers import BatchResult, TransferAnswer
from truepenny.calls import batches, clients, operations, transfers, wallets
from truepenny.calls.paging import Listing
from truepenny.environment import server
from truepenny.errors import TruepennyError
from truepenny.faces.drivers import AsyncDriver
from truepenny.faces.methods import Method, Resource
from truepenny.protocol.actions import Plan
from truepenny.protocol.session import DEADLINE_S, RETRIES, TIMEOUT_S, Session

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A", bound=Answer)


@dataclass(frozen=True, kw_only=True)
class AsyncTransfer(TransferAnswer):
    """A transfer, as it was when it was read."""

    _driver: AsyncDriver | None = field(default=None, repr=False, compare=False)

    async def wait(self, timeout: float = 30.0) -> AsyncTransfer:
        """Return the transfer once it is committed. Outages meanwhile are waited for as well.

        timeout: in seconds.
        Raises: Refused: when it failed. StillUnderWay: when the time is over; it goes on.
        """
        if self._driver is None:
            raise TruepennyError("this copy of a transfer has no client: get it by its id")
        return await _run_transfer(
            self._driver, transfers.wait_for(self._driver.session, self, timeout)
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_driver": None}  # connections cannot be copied


class AsyncPages(Generic[T]):
    """A list of the server, which is read page by page while it is iterated."""

    def __init__(
        self, driver: AsyncDriver, listing: Listing[Any], make: Callable[[AsyncDriver, Any], T]
    ) -> None:
        self._driver = driver
        self._listing = listing
        self._make = make
        self.cursor = listing.cursor
        """Where the list goes on, after the last page that was handed out whole."""

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            page = await self._driver.run(self._listing.page(self._driver.session, self.cursor))
            for answer in page.data:
                yield self._make(self._driver, answer)
            self.cursor = page.next_cursor or self.cursor
            if not (page.data and page.next_cursor):
                return


def _transfer(driver: AsyncDriver, answer: TransferAnswer) -> AsyncTransfer:
    return AsyncTransfer(**{**vars(answer), "_driver": driver})


async def _run(driver: AsyncDriver, plan: Plan[T]) -> T:
    return await driver.run(plan)


async def _run_transfer(driver: AsyncDriver, plan: Plan[TransferAnswer]) -> AsyncTransfer:
    return _transfer(driver, await driver.run(plan))


def _pages(driver: AsyncDriver, listing: Listing[A]) -> AsyncPages[A]:
    return AsyncPages(driver, listing, lambda _, answer: answer)


def _transfer_pages(
    driver: AsyncDriver, listing: Listing[TransferAnswer]
) -> AsyncPages[AsyncTransfer]:
    return AsyncPages(driver, listing, _transfer)


def method(
    plan: Callable[Concatenate[Session, P], Plan[T]],
) -> Method[AsyncDriver, P, Plan[T], Awaitable[T]]:
    """Make a method of a call."""
    return Method(plan, _run)


def transfer_method(
    plan: Callable[Concatenate[Session, P], Plan[TransferAnswer]],
) -> Method[AsyncDriver, P, Plan[TransferAnswer], Awaitable[AsyncTransfer]]:
    """Make a method of a call that answers with a transfer."""
    return Method(plan, _run_transfer)


def list_method(
    listing: Callable[Concatenate[Session, P], Listing[A]],
) -> Method[AsyncDriver, P, Listing[A], AsyncPages[A]]:
    """Make a method of a list."""
    return Method(listing, _pages)


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


class AsyncTransfers(Resource[AsyncDriver]):
    """Transfers of money between wallets."""

    create = transfer_method(transfers.create)
    get = transfer_method(transfers.get_one)
    list = Method(transfers.list_all, _transfer_pages)
    resume = transfer_method(transfers.resume)

    async def batch(
        self,
        items: Iterable[batches.NewTransfer] | AsyncIterable[batches.NewTransfer],
        *,
        size: int = batches.MAX_ITEMS,
        deadline: float = batches.DEADLINE_S,
    ) -> AsyncIterator[BatchResult]:
        """Submit any number of transfers, and yield what became of each, in order.

        Nothing is sent until results are asked for, and then one request at a time, with up to
        5,000 transfers or 4 MiB. A transfer that is refused, or whose outcome is unknown, is a
        result with an `error`. When a whole request fails, its results are yielded first; then
        its error is raised, and nothing more is sent: what was taken already is not recorded.

        size: how many go into one request at most; fewer for a client that may store few a minute.
        deadline: of each request, in seconds.
        """
        cutter = batches.Cutter(max_items=size)
        async for item in _each(items):
            if full := cutter.add(item):
                async for result in self._submit(full, cutter, deadline):
                    yield result
        if rest := cutter.rest():
            async for result in self._submit(rest, cutter, deadline):
                yield result

    async def _submit(
        self, items: Sequence[batches.Item], cutter: batches.Cutter, deadline: float
    ) -> AsyncIterator[BatchResult]:
        plan = batches.submit(self._driver.session, items, deadline_s=deadline)
        submitted = await self._driver.run(plan)
        for result in submitted.results:
            yield result
        if submitted.error is not None:
            for result in batches.not_sent(cutter.rest()):
                yield result
            raise submitted.error


class AsyncWallets(Resource[AsyncDriver]):
    """Wallets, with their postings and balances."""

    create = method(wallets.create)
    get = method(wallets.get_one)
    list = list_method(wallets.list_all)
    update = method(wallets.update)
    postings = list_method(wallets.postings)
    balance_at = method(wallets.balance_at)
    freeze = method(wallets.freeze)
    unfreeze = method(wallets.unfreeze)
    close = method(wallets.close)


class AsyncBalances(Resource[AsyncDriver]):
    """Balances of several wallets at one moment."""

    list = method(wallets.balances)


class AsyncAssets(Resource[AsyncDriver]):
    """Kinds of money."""

    create = method(operations.create_asset)
    list = list_method(operations.list_assets)


class AsyncPrices(Resource[AsyncDriver]):
    """Prices that the server follows."""

    list = method(operations.list_prices)
    get = method(operations.get_price)


class AsyncClients(Resource[AsyncDriver]):
    """Programs that may call (admins only)."""

    create = method(clients.create)
    list = list_method(clients.list_all)
    get = method(clients.get_one)
    disable = method(clients.disable)
    enable = method(clients.enable)


class AsyncKeys(Resource[AsyncDriver]):
    """API keys of clients."""

    create = method(clients.create_key)
    list = list_method(clients.list_keys)
    delete = method(clients.delete_key)


class AsyncReconciliations(Resource[AsyncDriver]):
    """Runs of the scan that checks the books (admins only)."""

    begin = method(operations.begin_reconciliation)
    list = list_method(operations.list_reconciliations)
    get = method(operations.get_reconciliation)


class AsyncTruepenny(Resource[AsyncDriver]):
    """A client whose calls are awaited. Use it in one event loop.

    Close it at the end, or use it with `async with`.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        deadline: float = DEADLINE_S,
        timeout: float = TIMEOUT_S,
        retries: int = RETRIES,
        client_id: str | None = None,
    ) -> None:
        """Take the server and the key; from TRUEPENNY_URL and TRUEPENNY_API_KEY if left out.

        deadline: how long one call may take with all its attempts, in seconds.
        timeout: how long one attempt may take. retries: how many may follow the first one.
        client_id: the client that the key belongs to, so that an unknown outcome can name its
        transfer. `me` finds it out, too.
        Raises: NotConfigured: when address or key are missing or cannot be used.
        """
        session = Session(server(base_url, api_key), deadline, timeout, retries, client_id)
        super().__init__(AsyncDriver(session))
        self.transfers = AsyncTransfers(self._driver)
        self.wallets = AsyncWallets(self._driver)
        self.balances = AsyncBalances(self._driver)
        self.assets = AsyncAssets(self._driver)
        self.prices = AsyncPrices(self._driver)
        self.clients = AsyncClients(self._driver)
        self.keys = AsyncKeys(self._driver)
        self.reconciliations = AsyncReconciliations(self._driver)

    me = method(clients.me)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._driver.session.server.base_url!r})"

    async def __aenter__(self) -> AsyncTruepenny:  # noqa: PYI034 - Self comes with Python 3.11
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Harmless when closed."""
        await self._driver.close()
