"""Ledger errors: each has a code, a message, and one disposition."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ledger import errors
from ledger.errors import Disposition, Invalid, InvalidField, LedgerError, Rejection, disposition


def tree(kind: type[LedgerError] = LedgerError) -> Iterator[type[LedgerError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def make(kind: type[LedgerError]) -> LedgerError:
    if issubclass(kind, InvalidField):
        return kind("/amount", "is wrong")
    return kind()


KINDS = sorted(set(tree()), key=lambda kind: kind.__name__)

DISPOSITIONS = {
    "AssetMismatch": Disposition.REJECT,
    "Forbidden": Disposition.REJECT,
    "IdempotencyKeyReused": Disposition.REJECT,
    "InDoubt": Disposition.RETRY,
    "InsufficientFunds": Disposition.REJECT,
    "Invalid": Disposition.REJECT,
    "InvalidField": Disposition.REJECT,
    "InvalidState": Disposition.REJECT,
    "InvariantBroken": Disposition.ALARM,
    "LedgerError": Disposition.REJECT,
    "LockTimeout": Disposition.RETRY,
    "Misconfigured": Disposition.ALARM,
    "NewerFormat": Disposition.REJECT,
    "NotAuthentic": Disposition.REJECT,
    "NotFound": Disposition.REJECT,
    "Overloaded": Disposition.RETRY,
    "Poisoned": Disposition.REJECT,
    "Refused": Disposition.RETRY,
    "Replaced": Disposition.RETRY,
    "Unaccepted": Disposition.RETRY,
    "Rejection": Disposition.REJECT,
    "RolledBack": Disposition.REJECT,
    "SameWallet": Disposition.REJECT,
    "StatementTimeout": Disposition.RETRY,
    "Superseded": Disposition.RETRY,
    "Unavailable": Disposition.RETRY,
    "Unreachable": Disposition.RETRY,
    "Unreadable": Disposition.REJECT,
    "WalletClosed": Disposition.REJECT,
    "WalletFrozen": Disposition.REJECT,
    "WalletNotFound": Disposition.REJECT,
}


def test_the_table_of_dispositions_names_every_error() -> None:
    assert [kind.__name__ for kind in KINDS] == sorted(DISPOSITIONS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_the_ledger_has_its_disposition(kind: type[LedgerError]) -> None:
    assert disposition(make(kind)) is DISPOSITIONS[kind.__name__]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_has_its_own_code_and_message(kind: type[LedgerError]) -> None:
    assert re.fullmatch("[a-z_]+", kind.code)
    assert kind.__doc__ is not None, "its docstring is its default message"
    assert "__doc__" in vars(kind) or kind.__doc__ != kind.__bases__[0].__doc__
    first_line = kind.__doc__.splitlines()[0]
    assert first_line[0].isupper()
    assert first_line.endswith(".")
    if not issubclass(kind, InvalidField):
        assert kind().detail == str(kind()) == first_line
        assert kind("Because.").detail == "Because."


@pytest.mark.parametrize("parent", [Invalid, Rejection])
def test_no_two_answers_to_a_client_share_a_code(parent: type[LedgerError]) -> None:
    codes = [kind.code for kind in tree(parent) if "code" in vars(kind)]
    assert len(codes) == len(set(codes))


def test_nothing_outside_the_errors_module_adds_to_the_tree() -> None:
    assert {kind.__module__ for kind in KINDS} == {errors.__name__}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("a bug"), Disposition.REJECT),
        (KeyError("a bug"), Disposition.REJECT),
        (ZeroDivisionError(), Disposition.REJECT),
        (RecursionError(), Disposition.REJECT),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogate"), Disposition.REJECT),
        (MemoryError(), Disposition.RETRY),
        (SystemExit(), Disposition.RETRY),
        (KeyboardInterrupt(), Disposition.RETRY),
        (GeneratorExit(), Disposition.RETRY),
    ],
)
def test_an_error_from_elsewhere_has_a_disposition_too(
    error: BaseException, expected: Disposition
) -> None:
    assert disposition(error) is expected
