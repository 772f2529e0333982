"""Wallet page driver: what a person does on the page, and the transfers that result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from playwright.sync_api import Locator, Request, Route, expect
from sqlalchemy import text

from ledger.postgres.database import autocommit
from tests.ui.tab import WITHIN_MS, Tab

TRANSFERS = "**/v1/transfers"


@dataclass
class WalletPage(Tab):
    """The wallet page in a tab. `reference` marks the transfers of this test."""

    reference: str = field(default_factory=lambda: f"test {uuid4()}")
    keys: list[str] = field(default_factory=list)
    """The idempotency keys of all attempts to send, in order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.page.on("request", self._note_sending)

    def open(self, api_key: str | None = None) -> WalletPage:
        """Open the page with a key already stored, and wait for the wallets."""
        self.enter(api_key or self.installation.client.api_key)
        expect(self.wallet(self.installation.source.id)).to_be_visible(timeout=WITHIN_MS)
        return self

    def wallet(self, wallet_id: object) -> Locator:
        return self.page.locator(f'[data-wallet="{wallet_id}"]')

    @property
    def transfer(self) -> Locator:
        """The transfer that is shown instead of the form."""
        return self.page.locator(".transfer")

    def fill(self, amount: str = "12.50") -> None:
        """Fill in the form, from source to destination."""
        self.panel("send").get_by_label("From").select_option(str(self.installation.source.id))
        self.panel("send").get_by_label("To", exact=True).select_option(
            str(self.installation.destination.id)
        )
        self.panel("send").get_by_label("Amount").fill(amount)
        self.panel("send").get_by_label("Reference").fill(self.reference)

    def send(self, amount: str = "12.50") -> None:
        self.fill(amount)
        self.button("Send").click()

    def ends(self, state: str = "committed") -> None:
        """Wait until the page shows the transfer in this final state."""
        expect(self.transfer).to_have_attribute("data-state", state, timeout=WITHIN_MS)
        expect(self.transfer).to_have_attribute("data-phase", "ended", timeout=WITHIN_MS)

    def says(self, words: str) -> None:
        """Wait until the send panel contains these words."""
        expect(self.panel("send")).to_contain_text(words, timeout=WITHIN_MS)

    def attempted(self, times: int) -> None:
        """Wait until this number of attempts to send was made."""
        deadline = time.monotonic() + WITHIN_MS / 1000
        while len(self.keys) < times:
            assert time.monotonic() < deadline, self.keys
            self.page.wait_for_timeout(20)

    def transfers(self) -> list[tuple[str, str | None]]:
        """Return the transfers of this test in the database: (id, final state)."""
        query = text(
            "SELECT t.id::text, o.state FROM transfers t "
            "LEFT JOIN outcomes o ON o.transfer_id = t.id WHERE t.reference = :reference"
        )
        with autocommit(self.installation.engine) as connection:
            rows = connection.execute(query, {"reference": self.reference})
            return [(row[0], row[1]) for row in rows]

    def moved_once(self) -> None:
        """Assert that all attempts were one transfer, and that it committed."""
        self.ends()
        assert [state for _, state in self.transfers()] == ["committed"]
        assert len(set(self.keys)) == 1

    def on_sending(self, *answers: Callable[[Route], object]) -> None:
        """Answer the first attempts with these handlers, one each. Later ones reach the API."""
        waiting = list(answers)

        def handle(route: Route) -> None:
            if route.request.method == "POST" and waiting:
                waiting.pop(0)(route)
            else:
                route.continue_()

        self.page.route(TRANSFERS, handle)

    def _note_sending(self, request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/v1/transfers"):
            self.keys.append(request.headers["idempotency-key"])


def lose_answer(route: Route) -> None:
    """Pass the request to the API, and drop its answer."""
    route.fetch()
    route.abort()
