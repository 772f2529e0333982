"""The state machine on a real database."""

from __future__ import annotations

from tests.bank import Bank


def test_a_transfer_passes_all_steps_and_the_books_balance(bank: Bank) -> None:
    source, destination = bank.wallet(1_000), bank.wallet()
    [transfer] = bank.accept(bank.request(source, destination, 300))
    bank.settle()
    assert bank.state(transfer) == "committed"
    assert bank.look(source).available == 700
    assert bank.look(destination).available == 300
    bank.audit()
