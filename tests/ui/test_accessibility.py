"""Accessibility of the wallet page: axe, keyboard, small screens and large text."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.ui.conftest import NewPage
from tests.ui.wallet_page import WalletPage

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("screen", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious(new_page: NewPage, theme: str, screen: dict[str, Any]) -> None:
    tab = new_page(color_scheme=theme, reduced_motion="reduce", **screen).open()
    expect(tab.panel("statement").locator("tbody tr").first).to_be_visible()
    tab.send("0")
    assert tab.serious() == []
    tab.send()
    tab.ends()
    assert tab.serious() == []


def test_axe_finds_nothing_serious_in_the_key_form_and_a_dialog(new_page: NewPage) -> None:
    tab = new_page(color_scheme="dark", reduced_motion="reduce", **PHONE)
    tab.page.goto(tab.url)
    expect(tab.panel("key")).to_be_visible()
    assert tab.serious() == []
    tab.open()
    tab.button("New wallet").click()
    expect(tab.page.get_by_role("dialog")).to_be_visible()
    assert tab.serious() == []


def test_the_page_fits_on_a_phone(new_page: NewPage) -> None:
    tab = new_page(**PHONE).open()
    tab.send()
    tab.ends()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_page_fits_when_text_is_twice_as_large(new_page: NewPage) -> None:
    tab = new_page(viewport={"width": 640, "height": 450}).open()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 640


@pytest.mark.parametrize("width", [360, 1280])
def test_long_names_and_amounts_fit_and_are_not_cut(new_page: NewPage, width: int) -> None:
    tab = new_page(viewport={"width": width, "height": 740})
    amount = "-99999999999999999999.123456789012345678"
    tab.page.route("**/v1/wallets?*", lambda route: _lengthen(route, "W" * 255, amount))
    tab.open()
    card = tab.wallet(tab.installation.source.id)
    expect(card).to_contain_text("123456789012345678 USD")
    expect(tab.panel("statement")).to_be_visible()
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    cut = "(card) => [...card.querySelectorAll('p, dd')].some((e) => e.scrollWidth > e.clientWidth)"
    assert not card.evaluate(cut)


def _lengthen(route: Route, name: str, amount: str) -> None:
    response = route.fetch()
    document = response.json()
    for wallet in document["data"]:
        amounts = dict.fromkeys(("balance", "reserved", "incoming", "available"), amount)
        wallet.update(amounts, name=name)
    route.fulfill(response=response, json=document)


def test_a_transfer_is_sent_with_the_keyboard_alone(wallets: WalletPage) -> None:
    page = wallets.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    wanted = ["send-source", "send-destination", "send-amount", "send-reference"]
    keys = {"send-destination": "ArrowDown", "send-amount": "1.25"}
    for name in wanted:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == name:
                break
        assert page.evaluate("document.activeElement.id") == name
        if name == "send-destination":
            page.keyboard.press(keys[name])
        elif name == "send-amount":
            page.keyboard.type(keys[name])
    page.keyboard.type(wallets.reference)
    page.keyboard.press("Enter")
    wallets.moved_once()
    # The focus and the announcement move to the transfer, for screen readers.
    expect(wallets.transfer.get_by_role("heading")).to_be_focused()
    expect(wallets.transfer.get_by_role("status")).to_contain_text("Committed.")
    wallets.button("New transfer").press("Enter")
    expect(wallets.panel("send").get_by_label("Amount")).to_be_focused()
