"""The blocking client: each call returns when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from truepenny.answers.decoding import Answer
from truepenny.answers.transfers import BatchResult, TransferAnswer
from truepenny.calls import batches, clients, operations, transfers, wallets
from truepenny.calls.paging import Listing
from truepenny.environment import server
from truepenny.errors import TruepennyError
from truepenny.faces.drivers import Driver
from truepenny.faces.methods import Method, Resource
from truepenny.protocol.actions import Plan
from truepenny.protocol.session import DEADLINE_S, RETRIES, TIMEOUT_S, Session

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A", bound=Answer)


@dataclass(frozen=True, kw_only=True)
class Transfer(TransferAnswer):
    """A transfer, as it was when it was read."""

    _driver: Driver | None = field(default=None, repr=False, compare=False)

    def wait(self, timeout: float = 30.0) -> Transfer:
        """Return the transfer once it is committed. Outages meanwhile are waited for as well.

        timeout: in seconds.
        Raises: Refused: when it failed. StillUnderWay: when the time is over; it goes on.
        """
        if self._driver is None:
            raise TruepennyError("this copy of a transfer has no client: get it by its id")
        return _run_transfer(self._driver, transfers.wait_for(self._driver.session, self, timeout))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_driver": None}  # connections cannot be copied


class Pages(Generic[T]):
    """A list of the server, which is read page by page while it is iterated."""

    def __init__(
        self, driver: Driver, listing: Listing[Any], make: Callable[[Driver, Any], T]
    ) -> None:
        self._driver = driver
        self._listing = listing
        self._make = make
        self.cursor = listing.cursor
        """Where the list goes on, after the last page that was handed out whole."""

    def __iter__(self) -> Iterator[T]:
        while True:
            page = self._driver.run(self._listing.page(self._driver.session, self.cursor))
            for answer in page.data:
                yield self._make(self._driver, answer)
            self.cursor = page.next_cursor or self.cursor
            if not (page.data and page.next_cursor):
                return


def _transfer(driver: Driver, answer: TransferAnswer) -> Transfer:
    return Transfer(**{**vars(answer), "_driver": driver})


def _run(driver: Driver, plan: Plan[T]) -> T:
    return driver.run(plan)


def _run_transfer(driver: Driver, plan: Plan[TransferAnswer]) -> Transfer:
    return _transfer(driver, driver.run(plan))


def _pages(driver: Driver, listing: Listing[A]) -> Pages[A]:
    return Pages(driver, listing, lambda _, answer: answer)


def _transfer_pages(driver: Driver, listing: Listing[TransferAnswer]) -> Pages[Transfer]:
    return Pages(driver, listing, _transfer)


def method(
    plan: Callable[Concatenate[Session, P], Plan[T]],
) -> Method[Driver, P, Plan[T], T]:
    """Make a method of a call."""
    return Method(plan, _run)


def transfer_method(
    plan: Callable[Concatenate[Session, P], Plan[TransferAnswer]],
) -> Method[Driver, P, Plan[TransferAnswer], Transfer]:
    """Make a method of a call that answers with a transfer."""
    return Method(plan, _run_transfer)


def list_method(
    listing: Callable[Concatenate[Session, P], Listing[A]],
) -> Method[Driver, P, Listing[A], Pages[A]]:
    """Make a method of a list."""
    return Method(listing, _pages)


class Transfers(Resource[Driver]):
    """Transfers of money between wallets."""

    create = transfer_method(transfers.create)
    get = transfer_method(transfers.get_one)
    list = Method(transfers.list_all, _transfer_pages)
    resume = transfer_method(transfers.resume)

    def batch(
        self,
        items: Iterable[batches.NewTransfer],
        *,
        size: int = batches.MAX_ITEMS,
        deadline: float = batches.DEADLINE_S,
    ) -> Iterator[BatchResult]:
        """Submit any number of transfers, and yield what became of each, in order.

        Nothing is sent until results are asked for, and then one request at a time, with up to
        5,000 transfers or 4 MiB. A transfer that is refused, or whose outcome is unknown, is a
        result with an `error`. When a whole request fails, its results are yielded first; then
        its error is raised, and nothing more is sent: what was taken already is not recorded.

        size: how many go into one request at most; fewer for a client that may store few a minute.
        deadline: of each request, in seconds.
        """
        cutter = batches.Cutter(max_items=size)
        for item in items:
            if full := cutter.add(item):
                yield from self._submit(full, cutter, deadline)
        if rest := cutter.rest():
            yield from self._submit(rest, cutter, deadline)

    def _submit(
        self, items: Sequence[batches.Item], cutter: batches.Cutter, deadline: float
    ) -> Iterator[BatchResult]:
        plan = batches.submit(self._driver.session, items, deadline_s=deadline)
        submitted = self._driver.run(plan)
        yield from submitted.results
        if submitted.error is not None:
            yield from batches.not_sent(cutter.rest())
            raise submitted.error


class Wallets(Resource[Driver]):
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


class Balances(Resource[Driver]):
    """Balances of several wallets at one moment."""

    list = method(wallets.balances)


class Assets(Resource[Driver]):
    """Kinds of money."""

    create = method(operations.create_asset)
    list = list_method(operations.list_assets)


class Prices(Resource[Driver]):
    """Prices that the server follows."""

    list = method(operations.list_prices)
    get = method(operations.get_price)


class Clients(Resource[Driver]):
    """Programs that may call (admins only)."""

    create = method(clients.create)
    list = list_method(clients.list_all)
    get = method(clients.get_one)
    disable = method(clients.disable)
    enable = method(clients.enable)


class Keys(Resource[Driver]):
    """API keys of clients."""

    create = method(clients.create_key)
    list = list_method(clients.list_keys)
    delete = method(clients.delete_key)


class Reconciliations(Resource[Driver]):
    """Runs of the scan that checks the books (admins only)."""

    begin = method(operations.begin_reconciliation)
    list = list_method(operations.list_reconciliations)
    get = method(operations.get_reconciliation)


class Truepenny(Resource[Driver]):
    """A client that blocks until each call is done. Safe to use from many threads.

    Close it at the end, or use it as a context manager.
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
        super().__init__(Driver(session))
        self.transfers = Transfers(self._driver)
        self.wallets = Wallets(self._driver)
        self.balances = Balances(self._driver)
        self.assets = Assets(self._driver)
        self.prices = Prices(self._driver)
        self.clients = Clients(self._driver)
        self.keys = Keys(self._driver)
        self.reconciliations = Reconciliations(self._driver)

    me = method(clients.me)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._driver.session.server.base_url!r})"

    def __enter__(self) -> Truepenny:  # noqa: PYI034 - Self comes with Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Harmless when closed."""
        self._driver.close()
