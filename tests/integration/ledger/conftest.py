"""Fixtures of ledger tests: two wallets, of which the source holds money."""

from __future__ import annotations

import pytest

from ledger.wallets import Wallet
from testing.bank import Bank


@pytest.fixture
def source(bank: Bank) -> Wallet:
    """Make a wallet with 1,000.00 USD."""
    return bank.wallet(100_000)


@pytest.fixture
def destination(bank: Bank) -> Wallet:
    """Make an empty wallet."""
    return bank.wallet()
