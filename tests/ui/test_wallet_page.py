"""The wallet page without failures: everything a person does there, in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from testing.installation import Installation
from tests.ui.conftest import NewPage
from tests.ui.tab import WITHIN_MS
from tests.ui.wallet_page import WalletPage


def test_a_transfer_goes_from_a_click_to_committed(wallets: WalletPage) -> None:
    wallets.send("1234.50")
    wallets.moved_once()
    expect(wallets.transfer).to_contain_text("1\u2009234.50")
    steps = wallets.page.locator(".track-step")
    expect(steps).to_have_text([re.compile(rf"{step}.*\+\d") for step in STEPS])
    expect(wallets.panel("recent")).to_contain_text("Committed")
    statement = wallets.panel("statement").locator("tbody tr").first
    expect(statement).to_contain_text("\u22121\u2009234.50", timeout=WITHIN_MS)
    assert wallets.complaints == []
    assert wallets.violations() == []
    assert wallets.reports == []


STEPS = ("Reserve", "Deduct", "Credit", "Commit")


def test_a_key_is_checked_stored_in_the_tab_and_forgotten(
    new_page: NewPage, ui_installation: Installation
) -> None:
    tab = new_page()
    key = ui_installation.client.api_key
    assert key
    tab.page.goto(tab.url)
    field = tab.page.get_by_role("textbox", name="API key")
    expect(field).to_be_focused()
    field.fill("tp_wrong")
    field.press("Enter")
    expect(tab.panel("key")).to_contain_text("not valid")
    field.fill(key)
    field.press("Enter")
    expect(tab.wallet(ui_installation.source.id)).to_be_visible()
    assert _places_of(key, tab.page) == {"sessionStorage"}
    tab.page.reload()
    expect(tab.wallet(ui_installation.source.id)).to_be_visible()
    tab.button("Forget key").click()
    expect(field).to_be_visible()
    assert _places_of(key, tab.page) == set()
    tab.page.reload()
    expect(field).to_be_visible()


def _places_of(secret: str, page: Page) -> set[str]:
    """The places in a page that contain a secret."""
    places: dict[str, str] = page.evaluate(
        """() => ({
            sessionStorage: JSON.stringify({...sessionStorage}),
            localStorage: JSON.stringify({...localStorage}),
            cookies: document.cookie,
            url: location.href,
            document: document.documentElement.outerHTML,
            fields: [...document.querySelectorAll("input")].map((input) => input.value).join(),
        })"""
    )
    return {place for place, content in places.items() if secret in content}


def test_the_statement_has_older_pages(wallets: WalletPage, ui_installation: Installation) -> None:
    owner, bank = ui_installation.owner, ui_installation.bank
    rich = bank.wallet(100_000, owner=owner)
    bank.accept(
        *(bank.request(rich, ui_installation.destination, 100 + n, client=owner) for n in range(12))
    )
    bank.settle()
    wallets.page.reload()
    wallets.wallet(rich.id).get_by_role("button").first.click()
    rows = wallets.panel("statement").locator("tbody tr")
    expect(rows).to_have_count(10)
    wallets.button("Older").click()
    expect(rows).to_have_count(3)
    expect(rows.last).to_contain_text("Received")
    # The button is gone, and the focus has moved to the new table.
    expect(wallets.panel("statement").get_by_role("region")).to_be_focused()
    wallets.button("Newer").click()
    expect(rows).to_have_count(10)


def test_a_wallet_is_created_and_selected(wallets: WalletPage) -> None:
    wallets.button("New wallet").click()
    dialog = wallets.page.get_by_role("dialog")
    dialog.get_by_label("Asset").fill("ETH")
    dialog.get_by_label("Name").fill(wallets.reference)
    dialog.get_by_role("button", name="Create wallet").click()
    expect(dialog).to_be_hidden()
    card = wallets.page.locator(".wallet.selected")
    expect(card).to_contain_text(wallets.reference, timeout=WITHIN_MS)
    expect(card).to_contain_text("0.00 ETH")
    expect(wallets.panel("statement")).to_contain_text("No postings yet")


def test_an_id_is_copied_on_plain_http_too(
    wallets: WalletPage, ui_installation: Installation
) -> None:
    wallets.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    copied = wallets.page.evaluate_handle(
        """() => {
            const copied = [];
            document.addEventListener("copy", () => copied.push(document.activeElement.value));
            return copied;
        }"""
    )
    card = wallets.wallet(ui_installation.source.id)
    card.get_by_role("button", name="Copy").click()
    expect(card).to_contain_text("Copied")
    assert copied.json_value() == [str(ui_installation.source.id)]


def test_prices_show_their_source(wallets: WalletPage) -> None:
    row = wallets.panel("prices").locator("tbody tr").first
    expect(row).to_contain_text("BTC / USDT")
    expect(row.locator(".badge")).to_have_text(re.compile("Live|Stale|Static"))


def test_an_invalid_transfer_is_reported_at_its_field(
    wallets: WalletPage, ui_installation: Installation
) -> None:
    amount = wallets.panel("send").get_by_label("Amount")
    for typed, said in (
        ("", "Enter an amount."),
        ("12,50", "with a point"),
        ("1e3", "plain number"),
        ("0.001", "at most 2 decimals"),
        ("0", "more than zero"),
    ):
        wallets.send(typed)
        expect(wallets.panel("send")).to_contain_text(said)
        expect(amount).to_have_attribute("aria-invalid", "true")
        expect(amount).to_be_focused()
    amount.fill("99999999999999999999.99")
    expect(wallets.panel("send")).to_contain_text("More than the")
    wallets.panel("send").get_by_label("To", exact=True).select_option("other")
    wallets.panel("send").get_by_label("Wallet id").fill("nonsense")
    wallets.button("Send").click()
    expect(wallets.panel("send")).to_contain_text("not a wallet id")
    wallets.panel("send").get_by_label("Wallet id").fill(str(ui_installation.source.id))
    wallets.button("Send").click()
    expect(wallets.panel("send")).to_contain_text("the wallet you send from")
    assert wallets.keys == []


def test_the_theme_is_chosen_and_kept(wallets: WalletPage) -> None:
    def ground() -> str:
        colour: str = wallets.page.evaluate(
            "getComputedStyle(document.documentElement).backgroundColor"
        )
        return colour

    by_system = ground()
    wallets.page.get_by_role("button", name="System theme").click()
    assert ground() == by_system  # light, like the system
    wallets.page.get_by_role("button", name="Light theme").click()
    dark = ground()
    assert dark != by_system
    wallets.page.reload()
    assert ground() == dark
