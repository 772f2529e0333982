"""Fixtures of the page tests: one Truepenny and one browser for all, a new profile for each test.

They end with the last of these tests, because their workers would take messages of later tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ledger.clients import create_client
from ledger.postgres.database import transaction
from testing.http_client import Caller
from testing.installation import Installation, running_installation
from testing.programs import CHROMIUM, CHROMIUM_ARGUMENTS
from testing.servers.breakable import breakable
from testing.servers.brokers import RedisBroker
from testing.servers.own_servers import own_servers
from testing.servers.shared import migrate
from testing.servers.throwaway import durable
from tests.ui.api_process import ApiProcess
from tests.ui.ops_page import OpsPage
from tests.ui.wallet_page import WalletPage

NewTab = Callable[..., Page]
NewPage = Callable[..., WalletPage]
NewOpsPage = Callable[..., OpsPage]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = CHROMIUM.path()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="package")
def ui_installation(
    servers_folder: Path,
    redis_broker: RedisBroker,
    cache_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """A database that tests can kill, workers, and an API that stays up."""
    folder = tmp_path_factory.mktemp("ui")
    redis_broker.empty()
    postgres = durable(own_servers(servers_folder).postgres())  # or it would be degraded
    with breakable(postgres, servers_folder / "ui-postgres.log") as database:
        migrate(postgres.url)
        with running_installation(
            database, postgres.url, redis_broker, cache_url, folder
        ) as everything:
            yield everything


@pytest.fixture(scope="package")
def api(ui_installation: Installation) -> Iterator[ApiProcess]:
    """The API that serves the pages. Tests can kill it."""
    process = ApiProcess(ui_installation.environment, ui_installation.folder / "ui-api.log")
    process.start()
    yield process
    process.kill()


@pytest.fixture
def new_tab(browser: Browser) -> Iterator[NewTab]:
    """Opens a tab in a new profile. Options: those of Playwright's contexts."""
    contexts = []

    def make(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def new_page(new_tab: NewTab, ui_installation: Installation, api: ApiProcess) -> NewPage:
    """Opens a tab for the wallet page."""
    return lambda **options: WalletPage(new_tab(**options), ui_installation, api.url)


@pytest.fixture
def wallets(new_page: NewPage) -> WalletPage:
    """The wallet page, with the client's key entered."""
    return new_page().open()


@pytest.fixture(scope="package")
def ui_admin(ui_installation: Installation, api: ApiProcess) -> Caller:
    """An admin who calls the API that serves the pages."""
    with transaction(ui_installation.engine) as connection:
        _, api_key = create_client(connection, name="admin", scope="admin", rate_limit="none")
    return Caller(api.port, api_key)


@pytest.fixture
def new_ops(
    new_tab: NewTab, ui_installation: Installation, api: ApiProcess, ui_admin: Caller
) -> NewOpsPage:
    """Opens a tab for the ops page."""
    return lambda **options: OpsPage(
        new_tab(**options), ui_installation, f"{api.url}/ops", ui_admin
    )


@pytest.fixture
def ops(new_ops: NewOpsPage) -> OpsPage:
    """The ops page, with the admin's key entered."""
    return new_ops().open()
