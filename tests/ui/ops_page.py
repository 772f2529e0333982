"""Ops page driver: what an operator does and sees on the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, expect

from testing.http_client import Caller
from tests.ui.tab import WITHIN_MS, Tab

OVERVIEW = "**/v1/ops/overview"


@dataclass
class OpsPage(Tab):
    """The ops page in a tab."""

    admin: Caller

    def open(self, api_key: str | None = None) -> OpsPage:
        """Open the page with an admin key already stored, and wait for data."""
        self.enter(api_key or self.admin.api_key)
        expect(self.panel("queues").locator("tbody tr").first).to_be_visible(timeout=WITHIN_MS)
        return self

    def overview(self) -> dict[str, Any]:
        """Return the overview that the page shows."""
        answered: dict[str, Any] = self.admin.get("/v1/ops/overview").json()
        return answered

    @property
    def status(self) -> Locator:
        """The overall status."""
        return self.panel("status").locator(".verdict")

    def says(self, words: str) -> None:
        """Wait until the status contains these words."""
        expect(self.status).to_contain_text(words, timeout=WITHIN_MS)

    def count(self, state: str) -> Locator:
        """The number of transfers in a state, as the page shows it."""
        return self.panel("transfers").locator(f"[data-state={state}]")

    def find(self, transfer_id: str) -> None:
        """Paste an id and press Enter."""
        field = self.panel("search").get_by_label("Transfer id")
        field.fill(transfer_id)
        field.press("Enter")

    @property
    def found(self) -> Locator:
        return self.panel("search").locator(".found")

    def submitted(self, amount: str = "1.00") -> str:
        """Send a transfer and wait until it is committed. Returns: its id."""
        response = self.installation.client.submit(self.installation.body(amount), prefer="wait=20")
        assert response.status_code == 201, response.text
        return str(response.json()["id"])
