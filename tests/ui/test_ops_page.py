"""The ops page without failures: the overview, finding transfers, reconciliation runs."""

from __future__ import annotations

import json
import re
from uuid import uuid4

from playwright.sync_api import Route, expect
from sqlalchemy import text

from ledger.postgres.database import transaction
from testing.installation import Installation
from testing.worker_processes import eventually
from tests.ui.conftest import NewOpsPage
from tests.ui.ops_page import OVERVIEW, OpsPage
from tests.ui.tab import WITHIN_MS

WORDS = {"ok": "All well", "degraded": "Degraded", "down": "Down"}
COMPONENT_WORDS = {"ok": "OK", "degraded": "Degraded", "down": "Down"}


def test_it_shows_what_the_overview_says(ops: OpsPage) -> None:
    ops.submitted()
    eventually(lambda: ops.overview()["transfers"]["oldest_unfinished"] is None)
    seen = ops.overview()
    ops.says(WORDS[seen["status"]])
    for name, component in seen["components"].items():
        shown = ops.panel("status").locator(f"[data-component={name}]")
        expect(shown).to_contain_text(COMPONENT_WORDS[component["status"]])
    committed = re.compile(rf"Committed\s*{spaced(seen['transfers']['states']['committed'])}")
    expect(ops.count("committed")).to_have_text(committed, timeout=WITHIN_MS)
    expect(ops.panel("oldest")).to_contain_text("Every transfer has ended.", timeout=WITHIN_MS)
    for panel, key, members in (
        ("queues", "queue", ("name", "purpose")),
        ("workers", "worker", ("name", "program")),
        ("breakers", "breaker", ("name",)),
        ("prices", "price", ("symbol", "source")),
        ("scans", "scan", ("name",)),
    ):
        assert seen[panel], panel
        for item in seen[panel]:
            row = ops.panel(panel).locator(f'[data-{key}="{item[members[0]]}"]')
            for member in members:
                expect(row).to_contain_text(item[member], ignore_case=True)
    expect(ops.panel("breakers")).to_contain_text("Closed")
    expect(ops.panel("workers")).to_contain_text("Alive")
    assert ops.complaints == []
    assert ops.violations() == []
    assert ops.reports == []


def test_prices_alone_leave_the_whole_well(ops: OpsPage) -> None:
    well = {"status": "ok", "detail": "answers"}
    static = {"status": "degraded", "detail": "static: Binance has not answered yet"}

    def without_prices(route: Route) -> None:
        response = route.fetch()
        overview = response.json()
        components = dict.fromkeys(overview["components"], well) | {"prices": static}
        overview |= {"status": "ok", "components": components}
        route.fulfill(response=response, body=json.dumps(overview))

    ops.page.route(OVERVIEW, without_prices)
    ops.poll_now()
    ops.says("Prices: static: Binance has not answered yet.")
    ops.says(WORDS["ok"])
    shown = ops.panel("status").locator("[data-component=prices]")
    expect(shown).to_contain_text(COMPONENT_WORDS["degraded"])
    announced = ops.panel("status").get_by_role("status")
    expect(announced).to_have_text("All well, except for: prices.")


def spaced(count: int) -> str:
    """A count as the page formats it."""
    return f"{count:,}".replace(",", "\u2009")


def test_a_transfer_is_found_by_its_id_with_its_timeline(
    ops: OpsPage, ui_installation: Installation
) -> None:
    transfer_id = ops.submitted("3.21")
    timeline = ui_installation.client.get(f"/v1/transfers/{transfer_id}").json()["timeline"]
    ops.find(f"  {transfer_id.upper()} ")
    expect(ops.found).to_have_attribute("data-found", "committed")
    expect(ops.found).to_contain_text("3.21")
    entries = ops.found.locator("[data-event]")
    expect(entries).to_have_count(len(timeline))
    for index, event in enumerate(timeline):
        entry = entries.nth(index)
        expect(entry).to_have_attribute("data-event", event["event"])
        expect(entry.locator("time")).to_have_attribute("datetime", event["at"])
        expect(entry.locator("time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d{3}$"))
    ops.page.reload()  # the id is in the address
    expect(ops.found).to_have_attribute("data-found", "committed")
    ops.found.get_by_role("button", name="Close").click()
    expect(ops.found).to_have_count(0)
    assert "#" not in ops.page.url
    assert ops.complaints == []


def test_an_invalid_or_unknown_id_is_reported(ops: OpsPage) -> None:
    ops.find("nonsense")
    expect(ops.panel("search").get_by_role("alert")).to_contain_text("Paste a whole id")
    expect(ops.panel("search").get_by_label("Transfer id")).to_be_focused()
    ops.find(str(uuid4()))
    expect(ops.found).to_contain_text("No transfer has this id.")


def test_a_rejection_is_explained_in_plain_words(
    ops: OpsPage, ui_installation: Installation
) -> None:
    bank = ui_installation.bank
    poor = bank.wallet(100, owner=ui_installation.owner)
    # The money suffices for either, but not for both: a worker rejects the second.
    asked = [
        bank.request(
            poor, ui_installation.destination, 75, client=ui_installation.owner, reference=name
        )
        for name in ("first", "second")
    ]
    ids = bank.accept(*asked)
    eventually(lambda: bank.states(ids) == {"committed", "rejected"})
    [refused] = [each for each in ids if bank.state(each) == "rejected"]
    ops.find(str(refused))
    expect(ops.found).to_have_attribute("data-found", "rejected")
    expect(ops.found).to_contain_text("Not enough money in the source wallet. No money was moved.")
    expect(ops.found.locator("[data-event=rejected]")).to_contain_text("Rejected")


def test_the_oldest_unfinished_is_followed_to_its_end(
    ops: OpsPage, ui_installation: Installation
) -> None:
    source = ui_installation.bank.wallet(100, owner=ui_installation.owner)
    lock = text("SELECT id FROM wallets WHERE id = :id FOR NO KEY UPDATE")
    with transaction(ui_installation.engine) as connection:
        connection.execute(lock, {"id": source.id})  # so that no worker can continue
        answer = ui_installation.client.submit(ui_installation.body(source=str(source.id)))
        transfer_id = answer.json()["id"]
        link = ops.panel("oldest").get_by_role("link")
        expect(link).to_have_attribute("href", f"#transfer={transfer_id}", timeout=WITHIN_MS)
        link.click()
        expect(ops.found).to_have_attribute("data-found", "accepted")
        expect(ops.found).to_contain_text("In progress")
    expect(ops.found).to_have_attribute("data-found", "committed", timeout=WITHIN_MS)
    expect(ops.panel("oldest")).to_contain_text("Every transfer has ended.", timeout=WITHIN_MS)


def test_a_reconciliation_is_started_and_shows_what_it_repaired(
    ops: OpsPage, ui_installation: Installation
) -> None:
    wallet = ui_installation.bank.wallet(100_00, owner=ui_installation.owner)
    with transaction(ui_installation.engine) as connection:
        spoil = text("UPDATE wallets SET balance = balance + 700 WHERE id = :id")
        connection.execute(spoil, {"id": wallet.id})
    panel = ops.panel("reconciliations")
    ops.button("Run now").click()
    finding = panel.locator(".finding").filter(has_text=str(wallet.id))
    expect(finding).to_contain_text("Rebuilt", timeout=WITHIN_MS)
    change = finding.get_by_role("row").filter(has_text="balance")
    expect(change.get_by_role("cell")).to_have_text(["107.00", "100.00"])
    expect(panel.locator("tbody tr").first).to_contain_text("by an operator")
    expect(panel.locator("tbody tr").first).to_contain_text("Finished", timeout=WITHIN_MS)
    assert ui_installation.bank.look(wallet).balance == 100_00


def test_flower_is_linked_only_at_a_web_address(new_ops: NewOpsPage) -> None:
    address = "http://127.0.0.1:5555"

    def with_address(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=json.dumps(response.json() | {"flower_url": address}))

    ops = new_ops()
    ops.page.route(OVERVIEW, with_address)
    ops.open()
    link = ops.panel("workers").get_by_role("link", name="Flower")
    expect(link).to_have_attribute("href", address)
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", re.compile("noopener"))
    address = "javascript:alert(1)"
    ops.poll_now()
    expect(link).to_have_count(0)
