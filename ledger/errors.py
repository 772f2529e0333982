"""Everything that can go wrong in the ledger, as one tree, and what to do about each.

A leaf's `code` is part of the HTTP contract and never changes; its docstring is the
default message. `disposition` is the only place that decides between trying again,
giving one transfer up, and calling for a human.
"""

from __future__ import annotations

import enum


class LedgerError(Exception):
    """The ledger could not do what was asked."""

    code = "internal_error"

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or _first_line(type(self))
        super().__init__(self.detail)


class Invalid(LedgerError):
    """The request itself is wrong: nothing was recorded, a corrected one may follow."""

    code = "invalid_request"


class InvalidField(Invalid):
    """A field of the request has a value that cannot be used."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer = pointer


class IdempotencyKeyReused(Invalid):
    """This idempotency key was used before, with another content."""

    code = "idempotency_key_reused"


class WalletNotFound(Invalid):
    """There is no such wallet, or it is not yours to use."""

    code = "wallet_not_found"


class AssetMismatch(Invalid):
    """The wallets and the transfer must all be in the same asset."""

    code = "asset_mismatch"


class SameWallet(Invalid):
    """Source and destination are the same wallet."""

    code = "same_wallet"


class Forbidden(Invalid):
    """This needs a key with the scope admin."""

    code = "forbidden"


class NotFound(Invalid):
    """There is nothing here, or it is not yours to see."""

    code = "not_found"


class InvalidState(Invalid):
    """The object is not in a state that allows this."""

    code = "invalid_state"


class Rejection(LedgerError):
    """A decided no: it is recorded, and the same key gets the same answer for ever."""

    code = "refused"


class InsufficientFunds(Rejection):
    """The source wallet does not have this much available."""

    code = "insufficient_funds"


class WalletFrozen(Rejection):
    """One of the two wallets is frozen."""

    code = "wallet_frozen"


class WalletClosed(Rejection):
    """One of the two wallets is closed."""

    code = "wallet_closed"


class RolledBack(Rejection):
    """The transfer could not be finished; the source has its money back in full."""

    code = "rolled_back"


class Poisoned(LedgerError):
    """The database refused what a step wanted to write: a bug, or data nobody foresaw."""


class Unavailable(LedgerError):
    """The database cannot answer right now; the same call may succeed a little later."""

    code = "unavailable"


class Unreachable(Unavailable):
    """The database is away: nobody can connect to it, or it takes no writes."""


class Overloaded(Unavailable):
    """More is waiting than may wait; the same call may succeed when some of it is done."""

    code = "overloaded"


class Superseded(Unavailable):
    """Somebody else has gone on with this meanwhile."""


class Unreadable(LedgerError):
    """What the buffer holds is not a buffered request of a version known here."""


class NewerFormat(Unreadable):
    """What the buffer holds was written by a newer version than this one."""


class InvariantBroken(LedgerError):
    """What the database holds contradicts the ledger's rules."""


class Misconfigured(LedgerError):
    """The database answers, but not as this version of Truepenny expects it to."""


class Disposition(enum.Enum):
    """What a worker does about an error in a step."""

    RETRY = "retry"
    """It gets better by itself: try again, then leave it to the recovery scan."""
    REJECT = "reject"
    """It is one transfer's own fault: isolate that one and give it up."""
    ALARM = "alarm"
    """It is nobody's fault here and will not pass: touch nothing, call a human."""


def disposition(error: BaseException) -> Disposition:
    """Decide what becomes of a step that raised `error`.

    An error from outside the ledger's tree is a bug met by some transfer: that transfer
    is isolated and given up, the rest of its batch goes on.
    """
    match error:
        case Unavailable() | MemoryError():
            return Disposition.RETRY
        case InvariantBroken() | Misconfigured():
            return Disposition.ALARM
        case Exception():
            return Disposition.REJECT
        case _:  # SystemExit, KeyboardInterrupt: the process is told to stop
            return Disposition.RETRY


def _first_line(kind: type[LedgerError]) -> str:
    return (kind.__doc__ or kind.__name__).strip().splitlines()[0]
