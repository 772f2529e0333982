"""Panels that fail: each alone, each says so, and each recovers by itself."""

from __future__ import annotations

import re

from playwright.sync_api import Route, expect

from tests.ui.conftest import NewPage
from tests.ui.tab import WITHIN_MS, answer
from tests.ui.wallet_page import WalletPage

PRICES = "**/v1/prices"
WALLETS = "**/v1/wallets?*"


def test_a_component_that_throws_breaks_its_panel_alone(new_page: NewPage) -> None:
    tab = new_page()
    tab.page.route("**/wallet/prices_panel.js", _break_on_demand)
    tab.open()
    expect(tab.panel("prices").locator("tbody tr").first).to_be_visible()
    with tab.page.expect_request("**/client-errors"):
        tab.page.evaluate("window.isBroken = true")
    prices = tab.panel("prices")
    expect(prices.get_by_role("alert")).to_contain_text("This part of the page has failed.")
    assert tab.page.get_by_role("button", name="Try again").count() == 1
    [report] = tab.reports
    assert report["page"] == "wallet"
    assert report["panel"] == "prices"
    assert report["kind"] == "render"
    assert report["name"] == "TypeError"
    assert report["message"] == "[key] of # USD"
    assert "/wallet/prices_panel.js" in report["stack"]
    assert report["url"] == "/"
    tab.send()  # the rest goes on
    tab.moved_once()
    tab.page.evaluate("window.isBroken = false")
    tab.button("Try again").click()
    expect(prices.locator("tbody tr").first).to_be_visible()


def _break_on_demand(route: Route) -> None:
    """The real module, with one component that throws while `isBroken`."""
    response = route.fetch()
    script = response.text()
    broken = script.replace(
        "function Prices({ prices, at }) {",
        "function Prices({ prices, at }) {\n"
        '  if (window.isBroken) throw new TypeError("Bearer tp_secret of 1234.50 USD");',
    )
    assert broken != script
    route.fulfill(response=response, body=broken)


def test_what_nobody_caught_is_reported_once_and_scrubbed(wallets: WalletPage) -> None:
    with wallets.page.expect_request("**/client-errors"):
        wallets.page.evaluate(
            """() => {
                for (let n = 0; n < 500; n += 1) {
                    setTimeout(() => { throw new RangeError("tp_abcdef has 1 234.50 USD"); });
                    Promise.reject(new Error("unheard"));
                }
            }"""
        )
    expect(wallets.panel("wallets")).to_be_visible()
    wallets.page.wait_for_timeout(1500)  # one more round of reports would come within it
    counts = {report["kind"]: report["count"] for report in wallets.reports}
    assert counts.keys() == {"error", "rejection"}
    assert sum(report["count"] for report in wallets.reports) == 1000
    assert len(wallets.reports) <= 6
    assert not re.search(r"tp_abcdef|234", str(wallets.reports))


def test_reports_are_few_whatever_happens(wallets: WalletPage) -> None:
    with wallets.page.expect_request("**/client-errors"):
        wallets.page.evaluate(
            """() => {
                for (let n = 0; n < 200; n += 1) {
                    // Numbers are scrubbed away, and the reports would be equal: letters, then.
                    const letters = [n % 26, n % 25].map((m) => String.fromCharCode(97 + m));
                    setTimeout(() => { throw new Error(`different ${letters.join("")}`); });
                }
            }"""
        )
    wallets.page.wait_for_timeout(2500)
    assert len(wallets.reports) == 10


def test_a_panel_that_never_had_an_answer_says_why_and_recovers(new_page: NewPage) -> None:
    tab = new_page()
    tab.page.route(PRICES, answer(503, "{}", **{"Retry-After": "1"}))
    tab.open()
    expect(tab.panel("prices")).to_contain_text("The database is away right now.")
    expect(tab.panel("prices")).to_contain_text("tried again by itself")
    tab.page.unroute(PRICES)
    expect(tab.panel("prices").locator("tbody tr").first).to_be_visible(timeout=WITHIN_MS)


def test_wrong_answers_are_not_drawn(wallets: WalletPage) -> None:
    prices = wallets.panel("prices")
    expect(prices.locator("tbody tr").first).to_be_visible()
    for body in (
        "<h1>not JSON</h1>",
        "null",
        '{"data": "none", "next_cursor": null}',
        '{"data": [{"symbol": "BTCUSDT", "price": 1e99, "source": "live"}], "next_cursor": null}',
    ):
        wallets.page.route(PRICES, answer(200, body))
        wallets.look_again()
        expect(prices.locator(".freshness")).to_contain_text("this page cannot read")
        expect(prices.locator("tbody tr").first).to_be_visible()
        wallets.page.unroute(PRICES)
        wallets.look_again()
        expect(prices.locator(".freshness")).to_have_text("", timeout=WITHIN_MS)
    assert wallets.reports == []  # an answer is no error of this page


def test_a_limit_is_respected(wallets: WalletPage) -> None:
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=429, body="{}", headers={"Retry-After": "30"})

    wallets.page.route(PRICES, refuse)
    freshness = wallets.panel("prices").locator(".freshness")
    expect(freshness).to_contain_text("Too many requests just now.", timeout=WITHIN_MS)
    expect(freshness).to_contain_text(re.compile(r"retry in (2\d|3\d) s"))
    assert len(asked) == 1


def test_a_hidden_tab_asks_nothing_until_it_is_seen(wallets: WalletPage) -> None:
    expect(wallets.panel("prices").locator("tbody tr").first).to_be_visible()
    _hide(wallets, "true")
    wallets.page.wait_for_timeout(500)  # what was under way has ended
    asked: list[str] = []
    wallets.page.on("request", lambda request: asked.append(request.url))
    wallets.page.wait_for_timeout(3_000)  # prices are asked for every 2 s otherwise
    assert asked == []
    with wallets.page.expect_request(PRICES):
        _hide(wallets, "false")


def _hide(tab: WalletPage, hidden: str) -> None:
    tab.page.evaluate(
        f"""() => {{
            Object.defineProperty(document, "hidden", {{ value: {hidden}, configurable: true }});
            document.dispatchEvent(new Event("visibilitychange"));
        }}"""
    )


def test_a_key_that_is_refused_is_asked_for_again(wallets: WalletPage) -> None:
    wallets.page.evaluate("sessionStorage.setItem('truepenny.key', 'tp_revoked')")
    wallets.page.reload()
    expect(wallets.panel("key")).to_contain_text("no longer accepted", timeout=WITHIN_MS)
    assert wallets.page.evaluate("sessionStorage.getItem('truepenny.key')") is None
    assert (
        wallets.page.evaluate("document.documentElement.outerHTML.includes('tp_revoked')") is False
    )


def test_a_page_of_another_release_loads_itself_again(new_page: NewPage) -> None:
    tab = new_page()
    seen: list[str] = []

    def gone_at_first(route: Route) -> None:
        seen.append(route.request.url)
        if len(seen) == 1:
            route.fulfill(status=404)
        else:
            route.continue_()

    tab.page.route("**/wallet/main.js", gone_at_first)
    tab.open()
    assert len(seen) > 1
