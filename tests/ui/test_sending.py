"""Sending a transfer while something fails: money moves once, and the page says what is known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from uuid import uuid4

from playwright.sync_api import Dialog, Route, expect

from ledger.clients import create_client
from ledger.postgres.database import transaction
from testing.http_client import Caller
from testing.installation import Installation
from testing.worker_processes import eventually
from tests.ui.api_process import ApiProcess
from tests.ui.conftest import NewPage
from tests.ui.tab import WITHIN_MS, answer
from tests.ui.wallet_page import TRANSFERS, WalletPage, lose_answer

PROBLEM = "application/problem+json"
UNAVAILABLE = json.dumps({"code": "unavailable", "detail": "away", "status": 503})
SOON = {"Content-Type": PROBLEM, "Retry-After": "1"}


def test_a_lost_answer_is_retried_with_the_same_key(wallets: WalletPage) -> None:
    wallets.on_sending(lose_answer)
    wallets.send()
    wallets.moved_once()
    assert len(wallets.keys) == 2


def test_a_reload_while_sending_continues_with_the_same_key(wallets: WalletPage) -> None:
    wallets.on_sending(Route.fetch)  # the API has the request, and its answer never arrives
    with wallets.page.expect_request(TRANSFERS):
        wallets.send()
    expect(wallets.transfer).to_have_attribute("data-phase", "sending")
    wallets.page.reload()
    wallets.moved_once()
    assert len(wallets.keys) == 2
    wallets.page.reload()  # an ended transfer is shown, and not sent again
    expect(wallets.panel("recent")).to_contain_text("Committed")
    assert len(wallets.keys) == 2


def test_every_panel_and_the_transfer_recover_from_a_killed_api(
    wallets: WalletPage, api: ApiProcess, ui_installation: Installation
) -> None:
    wallets.fill()
    with api.away():
        wallets.button("Send").click()
        wallets.says("No connection to Truepenny.")
        wallets.says("not known whether your transfer was recorded")
        for name in ("wallets", "prices"):
            expect(wallets.panel(name).locator(".freshness")).to_contain_text(
                re.compile(r"as of .* · (retry in|reconnecting)"), timeout=WITHIN_MS
            )
        expect(
            wallets.wallet(ui_installation.source.id)
        ).to_be_visible()  # the last known data is kept
    for name in ("wallets", "prices"):
        expect(wallets.panel(name).locator(".freshness")).to_have_text("", timeout=WITHIN_MS)
    wallets.moved_once()


def test_forgetting_the_key_while_sending_asks_first(wallets: WalletPage) -> None:
    wallets.on_sending(lose_answer, *[Route.abort] * 9)
    wallets.send()
    wallets.says("not known whether your transfer was recorded")
    wallets.button("Forget key").click()
    dialog = wallets.page.get_by_role("dialog")
    expect(dialog).to_contain_text("still being sent")
    wallets.page.keyboard.press("Escape")
    expect(wallets.transfer).to_have_attribute("data-phase", "sending")
    wallets.button("Forget key").click()
    dialog.get_by_role("button", name="Forget it anyway").click()
    expect(wallets.panel("key")).to_be_visible()
    left = wallets.page.evaluate("Object.keys(sessionStorage).join()")
    assert "truepenny" not in left


def test_the_ops_page_asks_too_before_it_forgets_the_key(wallets: WalletPage) -> None:
    wallets.on_sending(lose_answer, *[Route.abort] * 9)
    wallets.send()
    wallets.says("not known whether your transfer was recorded")
    wallets.page.goto(f"{wallets.url}/ops")
    wallets.button("Forget key").click()
    expect(wallets.page.get_by_role("dialog")).to_contain_text("still being sent")


def test_leaving_the_page_while_sending_asks_first(wallets: WalletPage) -> None:
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    wallets.page.on("dialog", stay)
    wallets.on_sending(lose_answer, Route.abort)
    wallets.send()
    wallets.says("not known whether your transfer was recorded")
    wallets.page.reload()
    assert asked == ["beforeunload"]
    wallets.moved_once()
    wallets.page.reload()
    assert asked == ["beforeunload"]


def test_without_storage_the_page_warns_and_still_sends(wallets: WalletPage) -> None:
    wallets.page.evaluate(
        "() => { Storage.prototype.setItem = () => { throw new DOMException('full'); }; }"
    )
    wallets.on_sending(lose_answer, *[Route.abort] * 9)
    wallets.send()
    wallets.says("not known whether your transfer was recorded")
    wallets.says("Do not reload this page")
    wallets.button("Forget key").click()
    expect(wallets.page.get_by_role("dialog")).to_contain_text("still being sent")
    wallets.button("Keep the key").click()
    wallets.page.unroute(TRANSFERS)
    wallets.moved_once()


def test_a_transfer_of_another_page_in_the_tab_is_not_overwritten(wallets: WalletPage) -> None:
    wallets.send()
    wallets.ends()
    other_key = str(uuid4())
    wallets.page.evaluate(
        """(other_key) => {
            // As if the page came back from the browser's cache, which tests cannot use.
            dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
            const [first] = JSON.parse(sessionStorage.getItem("truepenny.transfers"));
            const second = { ...first, key: other_key, phase: "sending", id: null, state: null };
            const both = JSON.stringify([second, first]);
            sessionStorage.setItem("truepenny.transfers", both);
            dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
        }""",
        other_key,
    )
    wallets.attempted(2)
    assert wallets.keys[1] == other_key
    wallets.ends()
    expect(wallets.panel("recent").get_by_role("button")).to_have_count(2)


def test_two_clicks_send_once(wallets: WalletPage) -> None:
    wallets.fill()
    # Both clicks at once, before anything can be drawn in between.
    wallets.button("Send").evaluate("(button) => { button.click(); button.click(); }")
    wallets.moved_once()
    assert len(wallets.keys) == 1


def test_unavailable_unreadable_and_proxy_answers_are_retried(wallets: WalletPage) -> None:
    wallets.on_sending(
        answer(503, UNAVAILABLE, **SOON),
        answer(200, "<h1>Welcome to the proxy</h1>"),
        answer(201, '{"id": 7}'),
        answer(404, "<h1>Not found</h1>"),
        answer(403, '{"code": "AccessDenied"}', **{"Content-Type": "application/json"}),
    )
    wallets.send()
    wallets.says("The database is unavailable at the moment.")
    wallets.says("as the same transfer")
    expect(wallets.button("Send")).to_be_hidden()  # it cannot be changed now
    for attempts in range(2, 7):
        wallets.page.evaluate("dispatchEvent(new Event('online'))")  # skip the back-off
        expect(wallets.transfer).to_be_visible()
        wallets.attempted(attempts)
    wallets.moved_once()
    assert len(wallets.keys) == 6


def test_a_timeout_is_retried(wallets: WalletPage, api: ApiProcess) -> None:
    wallets.page.clock.install()
    wallets.page.reload()
    wallets.fill()
    with api.frozen():
        wallets.button("Send").click()
        expect(wallets.transfer).to_have_attribute("data-phase", "sending")
        wallets.page.clock.fast_forward(10_500)
        wallets.says("Truepenny did not answer in time.")
    wallets.page.clock.resume()
    wallets.moved_once()


def test_a_rate_limit_is_respected_and_nothing_was_recorded(
    new_page: NewPage, ui_installation: Installation
) -> None:
    with transaction(ui_installation.engine) as connection:
        client, key = create_client(
            connection, name="limited", scope="client", rate_limit="1/minute"
        )
    source = ui_installation.bank.wallet(10_00, owner=client)
    ui_installation.bank.wallet(owner=client)
    tab = new_page()
    tab.installation = _with_source(ui_installation, source)
    tab.open(key)
    for number in range(2):
        tab.panel("send").get_by_label("To", exact=True).select_option(index=1)
        tab.panel("send").get_by_label("Amount").fill(f"1.0{number}")
        tab.panel("send").get_by_label("Reference").fill(tab.reference)
        tab.button("Send").click()
        if number == 0:
            tab.ends()
            tab.button("New transfer").click()
    tab.says("Too many requests at the moment.")
    tab.says("was not recorded yet")
    expect(tab.panel("send")).to_contain_text(re.compile(r"sent again in (\d+ s|1 min)"))
    tab.button("Stop retrying").click()
    tab.says("nothing was recorded")
    expect(tab.panel("recent").get_by_role("button").first).to_contain_text("Not sent")
    assert len(tab.transfers()) == 1


def _with_source(installation: Installation, source: object) -> Installation:
    return replace(installation, source=source)  # type: ignore[arg-type]


def test_sending_a_stopped_transfer_again_asks_first(wallets: WalletPage) -> None:
    wallets.on_sending(lose_answer, Route.abort, Route.abort, Route.abort)
    wallets.send("3.21")
    wallets.says("not known whether your transfer was recorded")
    wallets.button("Stop retrying").click()
    wallets.says("It may have been sent")
    expect(wallets.panel("recent")).to_contain_text("Unclear")
    wallets.button("New transfer").click()
    wallets.send("3.21")
    dialog = wallets.page.get_by_role("dialog")
    expect(dialog).to_contain_text("a second time")
    wallets.page.unroute(TRANSFERS)
    dialog.get_by_role("button", name="Continue the first").click()
    wallets.moved_once()


def test_sending_a_duplicate_of_a_transfer_in_progress_asks_first(wallets: WalletPage) -> None:
    wallets.send("1.00")
    wallets.ends()
    wallets.button("New transfer").click()
    wallets.on_sending(lose_answer, *[Route.abort] * 9)
    wallets.send("3.21")
    wallets.says("not known whether your transfer was recorded")
    recent = wallets.panel("recent").get_by_role("button")
    recent.last.click()
    wallets.button("New transfer").click()
    wallets.send("3.21")
    dialog = wallets.page.get_by_role("dialog")
    expect(dialog).to_contain_text("still being sent")
    wallets.page.unroute(TRANSFERS)
    dialog.get_by_role("button", name="Continue the first").click()
    wallets.ends()
    assert len(wallets.transfers()) == 2


def test_a_rejection_is_explained_in_plain_words(wallets: WalletPage) -> None:
    wallets.send("88888888.00")
    wallets.says("Not enough money in the source wallet")
    wallets.says("No money was moved.")
    expect(wallets.transfer).to_have_attribute("data-state", "rejected", timeout=WITHIN_MS)
    assert [state for _, state in wallets.transfers()] == ["rejected"]


def test_a_refused_transfer_can_be_corrected(
    wallets: WalletPage, ui_installation: Installation
) -> None:
    unknown = "01a00000-0000-7000-8000-000000000000"
    wallets.fill()
    send = wallets.panel("send")
    send.get_by_label("To", exact=True).select_option("other")
    send.get_by_label("Wallet id").fill(unknown)
    wallets.button("Send").click()
    wallets.says("There is no such wallet")
    wallets.button("Correct it").click()
    expect(send.get_by_label("Wallet id")).to_have_value(unknown)
    send.get_by_label("To", exact=True).select_option(str(ui_installation.destination.id))
    wallets.button("Send").click()
    wallets.ends()
    assert [state for _, state in wallets.transfers()] == ["committed"]


def test_without_the_database_a_transfer_is_buffered_and_settles_later(
    wallets: WalletPage, api: ApiProcess, ui_installation: Installation
) -> None:
    wallets.fill()
    with ui_installation.outage():
        wallets.button("Send").click()
        wallets.says("Stored, the database is unavailable")
        expect(wallets.panel("wallets").locator(".freshness")).to_contain_text("as of")
        expect(wallets.wallet(ui_installation.source.id)).to_be_visible()
        expect(wallets.panel("prices").locator("tbody tr").first).to_be_visible()
    wallets.moved_once()
    expect(wallets.panel("wallets").locator(".freshness")).to_have_text("", timeout=WITHIN_MS)
    assert ui_installation.buffer.count() == 0
    # Each API process notices on its own, and the next test may reach another one.
    client = ui_installation.client
    callers = [Caller(api.port, client.api_key) for _ in range(8)]
    eventually(lambda: all(each.get("/v1/wallets").ok for each in callers))


def test_a_transfer_of_a_refused_key_is_not_sent_with_another(
    new_page: NewPage, ui_installation: Installation
) -> None:
    tab = new_page()
    tab.page.goto(tab.url)
    _enter(tab, ui_installation.client.api_key)
    tab.on_sending(lose_answer, Route.abort, Route.abort, Route.abort)
    tab.send()
    tab.says("not known whether your transfer was recorded")
    tab.page.evaluate("sessionStorage.setItem('truepenny.key', 'tp_revoked')")
    tab.page.unroute(TRANSFERS)
    tab.page.reload()
    expect(tab.panel("key")).to_contain_text("no longer accepted", timeout=WITHIN_MS)
    _enter(tab, ui_installation.stranger.api_key)
    expect(tab.panel("recent")).to_contain_text("Unclear", timeout=WITHIN_MS)
    tab.panel("recent").get_by_role("button").click()
    tab.says("Only that key can continue it")
    expect(tab.button("Continue this transfer")).to_be_hidden()
    assert len(tab.transfers()) == 1


def _enter(tab: WalletPage, key: str | None) -> None:
    field = tab.page.get_by_role("textbox", name="API key")
    field.fill(key or "")
    field.press("Enter")
    expect(tab.panel("wallets")).to_be_visible(timeout=WITHIN_MS)
