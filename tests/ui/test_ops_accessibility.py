"""Accessibility of the ops page: axe, small screens, large text and announcements."""

from __future__ import annotations

from typing import Literal

from playwright.sync_api import expect

from tests.ui.conftest import NewOpsPage
from tests.ui.ops_page import OVERVIEW, OpsPage
from tests.ui.tab import answer

PHONE_WIDTH = 360


def test_axe_finds_nothing_serious_in_either_theme_or_on_a_phone(new_ops: NewOpsPage) -> None:
    ops = new_ops(color_scheme="light", reduced_motion="reduce").open()
    ops.find(ops.submitted())
    expect(ops.found).to_have_attribute("data-found", "committed")
    assert ops.serious() == []
    set_theme(ops, "dark")
    assert ops.serious() == []
    ops.page.route(OVERVIEW, answer(503, "{}"))
    ops.poll_now()
    ops.says("Unknown")
    ops.page.set_viewport_size({"width": PHONE_WIDTH, "height": 740})
    assert ops.page.evaluate("document.documentElement.scrollWidth") <= PHONE_WIDTH
    assert ops.serious() == []
    set_theme(ops, "light")
    assert ops.serious() == []


def set_theme(ops: OpsPage, theme: Literal["light", "dark"]) -> None:
    """Change the system's theme and wait until it is drawn, because colours have transitions."""
    ops.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    frame = "new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn, 50)))"
    ops.page.evaluate(f"{frame}.then(() => {frame})")


def test_the_page_fits_when_text_is_twice_as_large(new_ops: NewOpsPage) -> None:
    ops = new_ops(viewport={"width": 640, "height": 450}).open()
    assert ops.page.evaluate("document.documentElement.scrollWidth") <= 640


def test_only_changes_are_announced(ops: OpsPage) -> None:
    """The text for screen readers does not change with every poll."""
    announced = ops.panel("status").get_by_role("status")
    before = announced.inner_text()
    asked: list[str] = []
    ops.page.on("request", lambda request: asked.append(request.url))
    for _ in range(3):
        with ops.page.expect_response(OVERVIEW):
            ops.poll_now()
    assert announced.inner_text() == before
    live = ops.page.locator("[aria-live]:not([aria-live=off]), [role=status], [role=alert]")
    assert not [text for text in live.all_inner_texts() if " ago" in text]
    ops.page.route(OVERVIEW, answer(503, "{}"))
    ops.poll_now()
    expect(announced).to_contain_text("Status unknown.")
