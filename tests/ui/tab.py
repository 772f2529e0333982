"""A page of ours in a tab, and what a test may see of it from outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # has none
from playwright.sync_api import ConsoleMessage, Locator, Page, Request, Route

from testing.installation import Installation

WITHIN_MS = 20_000
# Chromium's word for a network interface that came or went, which containers beside us make.
NOT_OURS = "net::ERR_NETWORK_CHANGED"

# Runs before the page's own scripts, in every document of the tab.
_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""
_ENTER = """
if (!sessionStorage.getItem("entered")) {{
  sessionStorage.setItem("entered", "yes");
  sessionStorage.setItem("truepenny.key", {key});
}}
"""


@dataclass
class Tab:
    """One tab of one profile."""

    page: Page
    town: Installation
    url: str
    complaints: list[str] = field(default_factory=list, kw_only=True)
    """What the console said of errors and warnings."""
    reports: list[dict[str, Any]] = field(default_factory=list, kw_only=True)
    """What was posted to /client-errors."""

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WITHIN_MS)
        self.page.add_init_script(_WATCH)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._see)

    def enter(self, api_key: str | None) -> None:
        """Open the page with a key that was entered before."""
        self.page.add_init_script(_ENTER.format(key=json.dumps(api_key)))
        self.page.goto(self.url)

    def panel(self, name: str) -> Locator:
        return self.page.locator(f"[data-panel={name}]")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def violations(self) -> list[str]:
        """What the Content-Security-Policy refused."""
        found: list[str] = self.page.evaluate("window.violations")
        return found

    def serious(self) -> list[str]:
        """What axe finds that keeps somebody from using the page."""
        found: dict[str, Any] = Axe().run(self.page).response
        return [
            f"{violation['id']}: {node['html']}"
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]

    def look_again(self) -> None:
        """The network is back: a browser says so, and pages ask at once."""
        self.page.evaluate("dispatchEvent(new Event('online'))")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and NOT_OURS not in message.text:
            self.complaints.append(message.text)

    def _see(self, request: Request) -> None:
        if request.url.endswith("/client-errors"):
            self.reports.append(json.loads(request.post_data or "{}"))


def answer(status: int, body: str, **headers: str) -> Callable[[Route], object]:
    """Answer in the API's place."""
    return lambda route: route.fulfill(status=status, body=body, headers=headers)
