"""Screenshots: takes the pictures in docs/screenshots from a running `make up`.

Creates a new client each time, with wallets and transfers, through the public API.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from testing.http_client import ROOT, Caller
from testing.programs import CHROMIUM, CHROMIUM_ARGUMENTS

FOLDER = ROOT / "docs" / "screenshots"
DESKTOP: ViewportSize = {"width": 1280, "height": 1000}
PHONE: ViewportSize = {"width": 390, "height": 844}
WALLETS = (
    ("Operating account", "USD", "248320.75"),
    ("Payroll", "USD", "41200.00"),
    ("Tax reserve", "USD", "58400.10"),
    ("Berlin office", "EUR", "18940.10"),
    ("Treasury", "BTC", "3.41720000"),
    ("Settlement", "ETH", "12.2500"),
)
PAYMENTS = (
    ("Tax reserve", "15250.25", "Corporate tax, third quarter"),
    ("Payroll", "980.00", "Bonus"),
    ("Tax reserve", "3120.40", "VAT"),
    ("Payroll", "12500.00", "Salaries, week 47"),
)


def main() -> None:
    """Create the data, open each page in each theme and size, and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--data", type=Path, default=ROOT / ".data", help="DATA_DIR of the stack")
    given = parser.parse_args()
    admin = Caller(given.port, (given.data / "secrets" / "admin-api-key").read_text().strip())
    client = business(admin)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM.path(), args=CHROMIUM_ARGUMENTS
        )
        for look, theme, size in (
            ("light", "light", DESKTOP),
            ("dark", "dark", DESKTOP),
            ("phone", "light", PHONE),
        ):
            tab = opened(browser, client, "/", theme=theme, size=size)
            send(tab)
            picture(tab, f"wallets-{look}")
            tab = opened(browser, admin, "/ops", theme=theme, size=size)
            tab.wait_for_timeout(2_500)  # every panel has its first answer by then
            picture(tab, f"ops-{look}")
        browser.close()


def business(admin: Caller) -> Caller:
    """Create a client with wallets that have money and a history."""
    made = created(admin, "/v1/clients", {"name": "Harbour Books", "rate_limit": "none"})
    client = Caller(admin.port, made["api_key"])
    wallets = {}
    for name, asset, funds in WALLETS:
        wallets[name] = created(client, "/v1/wallets", {"asset": asset, "name": name})["id"]
        bank = {"asset": asset, "name": f"{asset} bank", "kind": "external"}
        outside = created(admin, "/v1/wallets", bank)["id"]
        move(admin, outside, wallets[name], funds, asset, "Opening balance")
    for destination, amount, reference in PAYMENTS * 2:
        source = wallets["Operating account"]
        move(client, source, wallets[destination], amount, "USD", reference)
    return client


def created(caller: Caller, path: str, body: dict[str, str]) -> dict[str, str]:
    """Create an object and return it."""
    response = caller.post(path, body)
    assert response.status_code == 201, response.text
    document: dict[str, str] = response.json()
    return document


def move(
    caller: Caller, source: str, destination: str, amount: str, asset: str, reference: str
) -> None:
    """Move money and wait until it has arrived."""
    body = {
        "source": source,
        "destination": destination,
        "amount": amount,
        "asset": asset,
        "reference": reference,
    }
    response = caller.submit(body, prefer="wait=20")
    assert response.status_code == 201, response.text


def opened(browser: Browser, caller: Caller, path: str, *, theme: str, size: ViewportSize) -> Page:
    """Open a page in a theme and size, with a key already stored."""
    context = browser.new_context(
        color_scheme="dark" if theme == "dark" else "light",
        viewport=size,
        device_scale_factor=2 if size is PHONE else 1,
        reduced_motion="reduce",
    )
    tab = context.new_page()
    key = json.dumps(caller.api_key)
    tab.add_init_script(f"sessionStorage.setItem('truepenny.key', {key})")
    tab.goto(f"http://127.0.0.1:{caller.port}{path}")
    tab.locator(".panel").first.wait_for()
    return tab


def send(tab: Page) -> None:
    """Send a transfer and wait for its end, so that its steps are shown."""
    tab.locator("#send-destination").select_option(label="Payroll")
    tab.locator("#send-amount").fill("1250")
    tab.locator("#send-reference").fill("Invoice 2031")
    tab.get_by_role("button", name="Send", exact=True).click()
    tab.locator("[data-state=committed]").wait_for()
    tab.locator(".statement tbody tr").first.wait_for()
    tab.wait_for_timeout(1_500)  # balances and statement are updated by then
    tab.evaluate("scrollTo(0, 0)")


def picture(tab: Page, name: str) -> None:
    """Write a picture of the top of the page, and on a phone of the transfer too."""
    shoot(tab, name)
    if tab.viewport_size == PHONE and tab.locator(".transfer").count():
        tab.locator("[data-panel=send]").scroll_into_view_if_needed()
        shoot(tab, "transfer-phone")
    tab.context.close()


def shoot(tab: Page, name: str) -> None:
    """Write one picture."""
    path = FOLDER / f"{name}.png"
    tab.screenshot(path=path)
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1024} KiB")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
