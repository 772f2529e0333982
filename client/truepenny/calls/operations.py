"""Calls about assets, prices and reconciliations."""

from __future__ import annotations

from truepenny.answers.decoding import decoder
from truepenny.answers.operations import Asset, Price, Reconciliation
from truepenny.calls.paging import PAGE_SIZE, Listing, read_all
from truepenny.protocol.actions import Plan
from truepenny.protocol.calls import Id, at, get, post
from truepenny.protocol.exchange import exchange
from truepenny.protocol.session import Session


def create_asset(session: Session, *, code: str, scale: int) -> Plan[Asset]:
    """Make a kind of money, or find the one with this code and scale (admins only).

    code: 2 to 12 capitals and digits. scale: its number of decimals, 0 to 18.
    """
    call = post(at("assets"), decoder(Asset), body={"code": code, "scale": scale})
    return exchange(session, call)


def list_assets(
    _session: Session, *, cursor: str | None = None, page_size: int = PAGE_SIZE
) -> Listing[Asset]:
    """List all assets, in the order of their codes."""
    return Listing(at("assets"), Asset, {}, cursor, page_size)


def list_prices(session: Session) -> Plan[tuple[Price, ...]]:
    """Return every price that the server follows."""
    return exchange(session, get(at("prices"), read_all(Price)))


def get_price(session: Session, symbol: str) -> Plan[Price]:
    """Return the price of one symbol, such as BTCUSDT."""
    return exchange(session, get(at("prices", symbol), decoder(Price)))


def begin_reconciliation(session: Session) -> Plan[Reconciliation]:
    """Begin to check the books, or return the run that is under way (admins only)."""
    return exchange(session, post(at("reconciliations"), decoder(Reconciliation)))


def list_reconciliations(
    _session: Session, *, cursor: str | None = None, page_size: int = PAGE_SIZE
) -> Listing[Reconciliation]:
    """List the runs, newest first (admins only)."""
    return Listing(at("reconciliations"), Reconciliation, {}, cursor, page_size)


def get_reconciliation(session: Session, reconciliation_id: Id) -> Plan[Reconciliation]:
    """Return a run with its findings (admins only)."""
    path = at("reconciliations", reconciliation_id)
    return exchange(session, get(path, decoder(Reconciliation)))
