"""Error tree of the ledger, and the decision what a worker does about each error.

A leaf's `code` is part of the HTTP contract and never changes; its docstring is the
default message. `disposition` is the only place that decides between trying again,
giving one transfer up, and alerting an operator.
"""

from __future__ import annotations

import enum


class LedgerError(Exception):
    """The ledger could not do this."""

    code = "internal_error"

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or (type(self).__doc__ or self.code).strip().splitlines()[0]
        super().__init__(self.detail)


class Invalid(LedgerError):
    """The request is wrong. Nothing was recorded; send a corrected one."""

    code = "invalid_request"


class InvalidField(Invalid):
    """A field of the request has a value that cannot be used."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail)
        self.pointer = pointer


class IdempotencyKeyReused(Invalid):
    """This idempotency key was used before for a different request."""

    code = "idempotency_key_reused"


class WalletNotFound(Invalid):
    """There is no such wallet, or you may not use it."""

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
    """There is nothing here, or you may not see it."""

    code = "not_found"


class InvalidState(Invalid):
    """The object is in a state that does not allow this."""

    code = "invalid_state"


class Rejection(LedgerError):
    """The transfer was rejected. This is recorded: the same key always gets this answer."""

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
    """The database does not accept the data of a step: a bug, or data that no check expects."""


class Unavailable(LedgerError):
    """The database cannot answer right now; the same call may succeed later."""

    code = "unavailable"


class LockTimeout(Unavailable):
    """A lock was not to be had in time. Perhaps it concerns a single wallet."""


class StatementTimeout(Unavailable):
    """A statement took too long and was cancelled. Perhaps a single transfer is the cause."""


class Unreachable(Unavailable):
    """The database is away: it takes no connections, or no writes."""


class Refused(Unreachable):
    """The database refuses the connection: DATABASE_URL or the server is set up wrongly."""


class Replaced(Unreachable):
    """A failover has replaced the server that answers: what is written there would be lost."""


class Unaccepted(Refused):
    """The database was restored or upgraded: `python -m migrations --accept-server` accepts it."""


class InDoubt(Unavailable):
    """The database has committed, but has not confirmed that no failover can undo it."""


class Overloaded(Unavailable):
    """Too much work is waiting; the same call may succeed when some of it is done."""

    code = "overloaded"


class Superseded(Unavailable):
    """Another process has continued this work in the meantime."""


class Unreadable(LedgerError):
    """The buffer entry is not a request in a known format."""


class NewerFormat(Unreadable):
    """The buffer entry was written by a newer version than this one."""


class NotAuthentic(Unreadable):
    """The buffer entry was not written with a secret of this installation."""


class InvariantBroken(LedgerError):
    """The data in the database contradicts the ledger's rules."""


class Misconfigured(LedgerError):
    """The database answers, but not as this version of Truepenny expects."""


class Disposition(enum.Enum):
    """The reaction of a worker to an error in a step."""

    RETRY = "retry"
    """It passes: try again, then leave it to the recovery scan."""
    REJECT = "reject"
    """One transfer causes it: isolate that transfer and give it up."""
    ALARM = "alarm"
    """No transfer causes it and it will not pass: change nothing, alert an operator."""


def disposition(error: BaseException) -> Disposition:
    """Decide what to do about a step that raised `error`.

    An error from outside the ledger's tree is a bug that some transfer triggers: that
    transfer is isolated and given up, and the rest of its batch goes on.
    """
    match error:
        case Unavailable() | MemoryError():
            return Disposition.RETRY
        case InvariantBroken() | Misconfigured():
            return Disposition.ALARM
        case Exception():
            return Disposition.REJECT
        case _:  # SystemExit, KeyboardInterrupt: the process must stop
            return Disposition.RETRY
