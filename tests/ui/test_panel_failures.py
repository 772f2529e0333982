"""Panels that fail: only the panel fails, it shows the error, and it recovers."""

from __future__ import annotations

import re

from playwright.sync_api import Route, expect

from tests.ui.conftest import NewPage
from tests.ui.tab import WITHIN_MS, answer
from tests.ui.wallet_page import WalletPage

PRICES = "**/v1/prices"
TRANSFER = "**/v1/transfers/*"
WALLETS = "**/v1/wallets?*"


def test_a_component_that_throws_breaks_its_panel_alone(new_page: NewPage) -> None:
    tab = new_page()
    tab.page.route("**/wallet/panels/prices.js", _break_on_demand)
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
    assert "/wallet/panels/prices.js" in report["stack"]
    assert report["url"] == "/"
    tab.send()  # the rest still works
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


def test_uncaught_errors_are_reported_once_and_redacted(wallets: WalletPage) -> None:
    with wallets.page.expect_request("**/client-errors"):
        wallets.page.evaluate(
            """() => {
                for (let n = 0; n < 500; n += 1) {
                    setTimeout(() => { throw new RangeError("tp_abcdef has 1 234.50 USD"); });
                    Promise.reject(new Error("uncaught"));
                }
            }"""
        )
    expect(wallets.panel("wallets")).to_be_visible()
    wallets.page.wait_for_timeout(1500)  # another round of reports would come within it
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
                    // Letters, because numbers are redacted and the reports would be equal.
                    const letters = [n % 26, n % 25].map((m) => String.fromCharCode(97 + m));
                    setTimeout(() => { throw new Error(`different ${letters.join("")}`); });
                }
            }"""
        )
    wallets.page.wait_for_timeout(2500)
    assert len(wallets.reports) == 10


def test_a_panel_without_any_answer_says_why_and_recovers(new_page: NewPage) -> None:
    tab = new_page()
    tab.page.route(PRICES, answer(503, "{}", **{"Retry-After": "1"}))
    tab.open()
    expect(tab.panel("prices")).to_contain_text("Truepenny is unavailable at the moment.")
    expect(tab.panel("prices")).to_contain_text("This page retries automatically.")
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
        wallets.poll_now()
        expect(prices.locator(".freshness")).to_contain_text("this page cannot read")
        expect(prices.locator("tbody tr").first).to_be_visible()
        wallets.page.unroute(PRICES)
        wallets.poll_now()
        expect(prices.locator(".freshness")).to_have_text("", timeout=WITHIN_MS)
    assert wallets.reports == []  # a wrong answer is not an error of this page


def test_a_limit_is_respected(wallets: WalletPage) -> None:
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=429, body="{}", headers={"Retry-After": "30"})

    wallets.page.route(PRICES, refuse)
    freshness = wallets.panel("prices").locator(".freshness")
    expect(freshness).to_contain_text("Too many requests at the moment.", timeout=WITHIN_MS)
    expect(freshness).to_contain_text(re.compile(r"retry in (2\d|3\d) s"))
    assert len(asked) == 1


def test_a_retry_after_longer_than_a_timer_is_respected(wallets: WalletPage) -> None:
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        # In milliseconds it exceeds the 31 bits of a timer, which would end at once.
        route.fulfill(status=429, body="{}", headers={"Retry-After": "3000000"})

    wallets.page.route(PRICES, refuse)
    freshness = wallets.panel("prices").locator(".freshness")
    expect(freshness).to_contain_text("Too many requests at the moment.", timeout=WITHIN_MS)
    wallets.page.wait_for_timeout(500)
    assert len(asked) == 1


def test_polling_continues_after_the_clock_is_set_back(wallets: WalletPage) -> None:
    freshness = wallets.panel("prices").locator(".freshness")
    wallets.page.route(PRICES, answer(503, "{}"))
    expect(freshness).to_contain_text("is unavailable", timeout=WITHIN_MS)
    wallets.page.evaluate(
        "() => { const now = Date.now; Date.now = () => now.call(Date) - 86_400_000; }"
    )
    wallets.page.unroute(PRICES)
    wallets.poll_now()
    expect(freshness).to_have_text("", timeout=WITHIN_MS)


def test_a_proxys_401_does_not_remove_the_key(wallets: WalletPage) -> None:
    wallets.page.route(PRICES, answer(401, "<h1>Sign in to the network</h1>"))
    expect(wallets.panel("prices").locator(".freshness")).to_contain_text(
        "as of", timeout=WITHIN_MS
    )
    expect(wallets.panel("wallets")).to_be_visible()
    assert wallets.page.evaluate("sessionStorage.getItem('truepenny.key')")


def test_a_hidden_tab_makes_no_requests(wallets: WalletPage) -> None:
    expect(wallets.panel("prices").locator("tbody tr").first).to_be_visible()
    wallets.page.route(TRANSFER, lambda route: route.abort())
    wallets.send()
    wallets.says("continues without this page")
    _hide(wallets, "true")
    wallets.page.wait_for_timeout(500)  # running requests have ended
    asked: list[str] = []
    wallets.page.on("request", lambda request: asked.append(request.url))
    wallets.page.wait_for_timeout(3_000)  # prices are polled every 2 s otherwise
    assert asked == []
    with wallets.page.expect_request(PRICES):
        wallets.page.unroute(TRANSFER)
        _hide(wallets, "false")
    wallets.moved_once()


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


def test_a_page_of_another_release_reloads(new_page: NewPage) -> None:
    tab = new_page()
    seen: list[str] = []

    def gone_at_first(route: Route) -> None:
        seen.append(route.request.url)
        if len(seen) == 1:
            route.fulfill(status=404)
        else:
            route.continue_()

    tab.page.route("**/wallet/wallet_page.js", gone_at_first)
    tab.open()
    assert len(seen) > 1


def test_a_blocked_font_causes_no_reload(new_page: NewPage) -> None:
    tab = new_page()
    loads: list[str] = []
    tab.page.on("framenavigated", lambda frame: loads.append(frame.url))
    tab.page.route("**/*.woff2", lambda route: route.abort())
    tab.open()
    tab.page.wait_for_timeout(1_200)  # it would reload after half a second
    assert len(loads) == 1


def test_a_missing_file_does_not_cause_endless_reloads(new_page: NewPage) -> None:
    tab = new_page()
    count = "sessionStorage.getItem('truepenny.loads')"
    tab.page.route("**/tokens.css", lambda route: route.abort())
    tab.open()
    # The page itself works, but that must not reset the counter.
    for _ in range(2):
        with tab.page.expect_navigation():
            pass
        expect(tab.panel("wallets")).to_be_visible()
    assert int(tab.page.evaluate(count)) >= 2
    tab.page.unroute("**/tokens.css")
    tab.page.reload()
    assert tab.page.evaluate(count) is None
