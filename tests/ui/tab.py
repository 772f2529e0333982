"""Browser tab driver: opens a page and records what the browser reports about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # has none
from playwright.sync_api import ConsoleMessage, Locator, Page, Request, Route

from testing.installation import Installation

WITHIN_MS = 20_000
# Chromium's error for a network interface that came or went, as when containers start.
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"

# Runs before the page's own scripts in every document of the tab.
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
    """One tab in one profile."""

    page: Page
    installation: Installation
    url: str
    complaints: list[str] = field(default_factory=list, kw_only=True)
    """Errors and warnings on the console."""
    reports: list[dict[str, Any]] = field(default_factory=list, kw_only=True)
    """The reports that were posted to /client-errors."""

    def __post_init__(self) -> None:
        self.page.set_default_timeout(WITHIN_MS)
        self.page.add_init_script(_WATCH)
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._note_request)

    def enter(self, api_key: str | None) -> None:
        """Open the page with a key already stored."""
        self.page.add_init_script(_ENTER.format(key=json.dumps(api_key)))
        self.page.goto(self.url)

    def panel(self, name: str) -> Locator:
        return self.page.locator(f"[data-panel={name}]")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def violations(self) -> list[str]:
        """Return what the Content-Security-Policy refused."""
        found: list[str] = self.page.evaluate("window.violations")
        return found

    def serious(self) -> list[str]:
        """Return the serious and critical findings of axe."""
        found: dict[str, Any] = Axe().run(self.page).response
        return [
            f"{violation['id']}: {node['html']}"
            for violation in found["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]

    def poll_now(self) -> None:
        """Send the event of a returned network, after which pages poll at once."""
        self.page.evaluate("dispatchEvent(new Event('online'))")

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and NETWORK_CHANGED not in message.text:
            self.complaints.append(message.text)

    def _note_request(self, request: Request) -> None:
        if request.url.endswith("/client-errors"):
            self.reports.append(json.loads(request.post_data or "{}"))


def answer(status: int, body: str, **headers: str) -> Callable[[Route], object]:
    """Return a route handler that answers instead of the API."""
    return lambda route: route.fulfill(status=status, body=body, headers=headers)
