"""Failures on the ops page: it shows the reason, keeps the last known data, and recovers."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.sync_api import Route, expect

from testing.installation import Installation
from tests.ui.api_process import ApiProcess
from tests.ui.conftest import NewOpsPage
from tests.ui.ops_page import OVERVIEW, OpsPage
from tests.ui.tab import WITHIN_MS, answer

OUTAGE_WITHIN_MS = 40_000
WRONG: tuple[dict[str, Any], ...] = (
    {"status": "fine"},
    {"transfers": None},
    {"queues": [{"name": "scans", "waiting": "many", "purpose": ""}]},
    {"workers": {}},
)
"""Parts of an overview that break the contract."""


def test_the_database_is_killed_and_comes_back(ops: OpsPage, ui_installation: Installation) -> None:
    ops.submitted()
    transfers = ops.panel("transfers")
    before = ops.count("committed").locator(".flow-count").inner_text()
    with ui_installation.outage():
        ops.says("Degraded")
        ops.says("transfers are buffered in the broker")
        expect(transfers).to_contain_text("Unavailable: the database", timeout=WITHIN_MS)
        expect(transfers.locator(".age")).to_contain_text("as of", timeout=WITHIN_MS)
        expect(ops.count("committed").locator(".flow-count")).to_have_text(re.compile(r"^\d"))
        expect(ops.panel("breakers")).to_contain_text(re.compile("Open|Half-open"))
        expect(ops.panel("queues").locator("tbody tr").first).to_be_visible()
        expect(ops.panel("queues")).not_to_contain_text("Unavailable")  # the broker still answers
        expect(ops.page).to_have_title(re.compile("^Degraded"))
    expect(transfers).not_to_contain_text("Unavailable", timeout=OUTAGE_WITHIN_MS)
    expect(transfers.locator(".age")).to_have_count(0)
    expect(ops.panel("breakers")).to_contain_text("Closed", timeout=OUTAGE_WITHIN_MS)
    database = ops.panel("status").locator("[data-component=database]")
    expect(database).to_contain_text("OK", timeout=OUTAGE_WITHIN_MS)
    expect(ops.panel("reconciliations").locator(".freshness")).to_have_text("", timeout=WITHIN_MS)
    after = ops.count("committed").locator(".flow-count").inner_text()
    assert number(after) >= number(before) > 0


def number(shown: str) -> int:
    return int(shown.replace("\u2009", ""))


def test_the_api_is_killed_and_comes_back(ops: OpsPage, api: ApiProcess) -> None:
    committed = ops.count("committed").locator(".flow-count").inner_text()
    with api.away():
        ops.poll_now()
        ops.says("Unknown")
        ops.says("No connection to Truepenny.")
        ops.says("Everything below is as of")
        expect(ops.page).to_have_title(re.compile("^No answer"))
        expect(ops.count("committed").locator(".flow-count")).to_have_text(committed)
        expect(ops.panel("workers").locator(".age")).to_contain_text("as of", timeout=WITHIN_MS)
    expect(ops.status).to_contain_text("updated", timeout=OUTAGE_WITHIN_MS)
    expect(ops.panel("workers").locator(".age")).to_have_count(0)
    assert ops.reports == []


def test_a_component_that_throws_breaks_its_panel_alone(new_ops: NewOpsPage) -> None:
    ops = new_ops()
    ops.page.route("**/ops/panels/queues.js", _break_on_demand)
    ops.open()
    with ops.page.expect_request("**/client-errors"):
        ops.page.evaluate("window.isBroken = true")
        ops.poll_now()
    queues = ops.panel("queues")
    expect(queues.get_by_role("alert")).to_contain_text("This part of the page has failed.")
    assert ops.button("Try again").count() == 1
    assert [(each["page"], each["panel"]) for each in ops.reports] == [("ops", "queues")]
    transfer_id = ops.submitted()  # the rest still works
    ops.find(transfer_id)
    expect(ops.found).to_have_attribute("data-found", "committed")
    ops.page.evaluate("window.isBroken = false")
    ops.button("Try again").click()
    expect(queues.locator("tbody tr").first).to_be_visible()


def _break_on_demand(route: Route) -> None:
    """The real module, with one component that throws while `isBroken`."""
    response = route.fetch()
    script = response.text()
    start = "function Queues({ queues, history }) {"
    broken = script.replace(start, f'{start}\n  if (window.isBroken) throw new TypeError("no");')
    assert broken != script
    route.fulfill(response=response, body=broken)


def test_wrong_answers_are_not_drawn(ops: OpsPage) -> None:
    for change in WRONG:
        ops.page.route(OVERVIEW, _changed(change))
        ops.poll_now()
        ops.says("Truepenny sent an answer that this page cannot read.")
        expect(ops.panel("queues").locator("tbody tr").first).to_be_visible()
        ops.page.unroute(OVERVIEW)
        ops.poll_now()
        expect(ops.status).to_contain_text("updated", timeout=WITHIN_MS)
    assert ops.reports == []  # a wrong answer is not an error of this page


def _changed(change: dict[str, Any]) -> Any:
    """Answer as the API does, with these changes."""

    def fulfill(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=json.dumps(response.json() | change))

    return fulfill


def test_a_part_that_was_never_available_says_why(new_ops: NewOpsPage) -> None:
    ops = new_ops()
    why = "the cache does not answer"
    change: dict[str, Any] = {
        "scans": None,
        "workers": None,
        "unknown": {"scans": why, "workers": why},
    }
    ops.page.route(OVERVIEW, _changed(change))
    ops.open()
    for name in ("scans", "workers"):
        expect(ops.panel(name)).to_contain_text(f"Unavailable: {why}. There is no earlier data")
    ops.page.unroute(OVERVIEW)
    ops.poll_now()
    expect(ops.panel("workers").locator("tbody tr").first).to_be_visible()
    expect(ops.panel("workers")).not_to_contain_text("Unavailable")


def test_a_limit_is_respected(ops: OpsPage) -> None:
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=429, body="{}", headers={"Retry-After": "30"})

    ops.page.route(OVERVIEW, refuse)
    ops.poll_now()
    ops.says("Too many requests at the moment.")
    expect(ops.status).to_contain_text(re.compile(r"retry in (2\d|3\d) s"))
    assert len(asked) == 1
    ops.page.unroute(OVERVIEW)
    ops.button("Retry now").click()
    expect(ops.status).to_contain_text("updated", timeout=WITHIN_MS)


def test_a_clients_key_is_refused(new_ops: NewOpsPage, ui_installation: Installation) -> None:
    key = ui_installation.client.api_key
    assert key
    asked = new_ops()
    asked.page.goto(asked.url)
    field = asked.page.get_by_role("textbox", name="API key")
    field.fill(key)
    field.press("Enter")
    expect(asked.panel("key")).to_contain_text("This page needs an admin key")
    assert asked.page.evaluate("sessionStorage.getItem('truepenny.key')") is None
    remembered = new_ops()  # as after the wallet page in the same tab
    remembered.enter(key)
    expect(remembered.panel("forbidden")).to_contain_text("This page needs an admin key")
    assert remembered.page.locator("[data-panel]").count() == 1
    remembered.button("Forget key").click()
    expect(remembered.panel("key")).to_be_visible()


def test_a_key_that_is_revoked_is_asked_for_again(ops: OpsPage) -> None:
    def revoked(route: Route) -> None:
        headers = route.request.headers | {"authorization": "Bearer tp_revoked"}
        route.continue_(headers=headers)

    ops.page.route("**/v1/**", revoked)
    ops.poll_now()
    expect(ops.panel("key")).to_contain_text("no longer accepted", timeout=WITHIN_MS)
    assert ops.page.locator("[data-panel]").count() == 1
    assert ops.page.evaluate("sessionStorage.getItem('truepenny.key')") is None


def test_a_run_that_did_not_start_is_reported(ops: OpsPage) -> None:
    def only_posts(route: Route) -> None:
        if route.request.method == "POST":
            answer(503, "{}", **{"Retry-After": "1"})(route)
        else:
            route.continue_()

    ops.page.route("**/v1/reconciliations", only_posts)
    ops.button("Run now").click()
    said = ops.panel("reconciliations").locator(".said")
    expect(said).to_contain_text("The run was not started. Truepenny is unavailable at the moment.")
    ops.page.unroute("**/v1/reconciliations")
    ops.button("Run now").click()
    expect(said).to_contain_text("A run is in progress.")
