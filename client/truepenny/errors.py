"""Errors of the client: refusals, failures that recorded nothing, and unknown outcomes.

- `Refused`: the server said no, for good. One class for each reason; nothing was moved.
- `NotRecorded`: every attempt failed in a way that certainly recorded nothing.
- `OutcomeUnknown`: an attempt may have arrived. Repeat with the same key, or ask `resume`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


class TruepennyError(Exception):
    """The root of all errors that this package raises for what a server did or did not do."""


class NotConfigured(TruepennyError):
    """The address or the key of the server is missing or cannot be used."""


@dataclass(frozen=True)
class FieldProblem:
    """One error in the body of a request."""

    pointer: str
    """A JSON pointer (RFC 6901) into the body."""
    detail: str


@dataclass(frozen=True)
class Problem:
    """The server's answer to a request that failed (RFC 9457)."""

    status: int
    code: str | None
    """Stable. None where the answer did not come from Truepenny, but from a proxy."""
    detail: str
    request_id: str | None
    errors: tuple[FieldProblem, ...] = ()
    transfer_id: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """The whole answer, with fields that this version does not know."""


class Refused(TruepennyError):
    """The server refused the request. Repeating it changes nothing, and nothing was moved."""

    def __init__(self, problem: Problem) -> None:
        """Take the server's answer."""
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        reason = self.code or f"status {self.status}"
        return f"{reason}: {self.detail} (request {self.request_id})"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def code(self) -> str | None:
        """The stable code of the reason, as in docs/CODES.md of the server."""
        return self.problem.code

    @property
    def detail(self) -> str:
        """A sentence for people."""
        return self.problem.detail

    @property
    def request_id(self) -> str | None:
        """The id of the request, by which the server's log has it."""
        return self.problem.request_id

    @property
    def errors(self) -> tuple[FieldProblem, ...]:
        """What is wrong with which field of the body."""
        return self.problem.errors

    @property
    def transfer_id(self) -> str | None:
        """The transfer that was recorded as refused, if there is one."""
        return self.problem.transfer_id


class InvalidRequest(Refused):
    """A field cannot be used; `errors` says which."""


class InsufficientFunds(Refused):
    """The source does not have the amount available."""


class IdempotencyKeyMissing(Refused):
    """The request needs an idempotency key."""


class IdempotencyKeyReused(Refused):
    """The idempotency key was used before, for something else."""


class Unauthenticated(Refused):
    """The server does not know the API key."""


class Forbidden(Refused):
    """The API key may not do this."""


class NotFound(Refused):
    """There is no such thing, or it belongs to somebody else."""


class InvalidState(Refused):
    """Not possible in the state that it is in."""


class TooLarge(Refused):
    """The request is larger than the server accepts."""


class WalletNotFound(Refused):
    """The source or the destination does not exist."""


class AssetMismatch(Refused):
    """A wallet is in another asset than the transfer."""


class SameWallet(Refused):
    """Source and destination are the same wallet."""


class WalletFrozen(Refused):
    """The source or the destination is frozen."""


class WalletClosed(Refused):
    """The source or the destination is closed."""


class LinkedFailed(Refused):
    """Another transfer of the same group failed."""


class RefundExceeded(Refused):
    """The refund is more than what is left to refund."""


class QuoteExpired(Refused):
    """The quote is too old."""


class QuoteUsed(Refused):
    """The quote belongs to another trade."""


class NotTradable(Refused):
    """There is no price between these two assets."""


class LiquidityUnavailable(Refused):
    """The house cannot pay this trade out."""


class Voided(Refused):
    """The held transfer was given up by a void."""


class Expired(Refused):
    """The transfer did not end before its time was over."""


class RolledBack(Refused):
    """The transfer was rolled back, and its source has the money again."""


BY_CODE: Final[Mapping[str, type[Refused]]] = {
    "invalid_request": InvalidRequest,
    "insufficient_funds": InsufficientFunds,
    "idempotency_key_missing": IdempotencyKeyMissing,
    "idempotency_key_reused": IdempotencyKeyReused,
    "unauthenticated": Unauthenticated,
    "forbidden": Forbidden,
    "not_found": NotFound,
    "invalid_state": InvalidState,
    "too_large": TooLarge,
    "wallet_not_found": WalletNotFound,
    "asset_mismatch": AssetMismatch,
    "same_wallet": SameWallet,
    "wallet_frozen": WalletFrozen,
    "wallet_closed": WalletClosed,
    "linked_failed": LinkedFailed,
    "refund_exceeded": RefundExceeded,
    "quote_expired": QuoteExpired,
    "quote_used": QuoteUsed,
    "not_tradable": NotTradable,
    "liquidity_unavailable": LiquidityUnavailable,
    "voided": Voided,
    "expired": Expired,
    "rolled_back": RolledBack,
}
"""The class of each code. A code that this version does not know is a plain `Refused`."""

BY_STATUS: Final[Mapping[int, type[Refused]]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
}
"""The class of an answer without a code, which came from a proxy."""


def refusal(problem: Problem) -> Refused:
    """Return the error for a problem, of the class that its code has."""
    if problem.code is None:
        return BY_STATUS.get(problem.status, Refused)(problem)
    return BY_CODE.get(problem.code, Refused)(problem)


class Unavailable(TruepennyError):
    """No attempt got a usable answer in time. Raised itself for reads, which change nothing."""

    def __init__(self, reason: str, *, attempts: int = 0, request_id: str | None = None) -> None:
        """Take why the last attempt failed, how many there were, and the last one's id."""
        super().__init__(reason)
        self.reason = reason
        self.attempts = attempts
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.reason} (attempts: {self.attempts}, last request: {self.request_id})"


class NotRecorded(Unavailable):
    """Certainly nothing was recorded: every attempt was turned away, or never left.

    The request may be dropped, or made again later with the same key or another.
    """

    def __init__(
        self,
        reason: str,
        *,
        attempts: int = 0,
        request_id: str | None = None,
        idempotency_key: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Take the key of the request, and how long the server asks to wait, if it said so."""
        super().__init__(reason, attempts=attempts, request_id=request_id)
        self.idempotency_key = idempotency_key
        self.retry_after_s = retry_after_s


class OutcomeUnknown(TruepennyError):
    """An attempt may have arrived, and no answer says what became of it.

    It is neither a success nor a failure. Repeat the call with `idempotency_key`: what was
    recorded is not done twice. Or ask later, with `transfers.resume(idempotency_key)`.
    """

    def __init__(
        self,
        idempotency_key: str | None,
        transfer_id: str | None,
        *,
        reason: str = "",
        attempts: int = 1,
        request_id: str | None = None,
    ) -> None:
        """Take the key, and the id that the transfer has if it was recorded.

        idempotency_key: None for the few calls that have none.
        transfer_id: None for what is no transfer, and where the client's id is not known.
        """
        super().__init__(idempotency_key, transfer_id)
        self.idempotency_key = idempotency_key
        self.transfer_id = transfer_id
        self.reason = reason
        self.attempts = attempts
        self.request_id = request_id

    def __str__(self) -> str:
        advice = "Look at what there is before you repeat the call"
        if self.idempotency_key is not None:
            advice = f"Repeat the call with the idempotency key {self.idempotency_key!r}"
        return (
            f"the outcome is unknown: {self.reason}. {advice} "
            f"(attempts: {self.attempts}, last request: {self.request_id})"
        )


class NotSeenYet(TruepennyError):
    """The server has no transfer with this key yet. A request under way may still record it."""

    def __init__(self, idempotency_key: str, transfer_id: str) -> None:
        """Take the key that was asked for, and the id that its transfer will have."""
        super().__init__(idempotency_key, transfer_id)
        self.idempotency_key = idempotency_key
        self.transfer_id = transfer_id

    def __str__(self) -> str:
        return f"no transfer with the idempotency key {self.idempotency_key!r} was seen yet"


class StillUnderWay(TruepennyError):
    """A transfer had not ended when the time to wait for it was over. It goes on."""

    def __init__(self, transfer_id: str, state: str) -> None:
        """Take the transfer and the state in which it was seen last."""
        super().__init__(transfer_id, state)
        self.transfer_id = transfer_id
        self.state = state

    def __str__(self) -> str:
        return f"transfer {self.transfer_id} is still {self.state}"
