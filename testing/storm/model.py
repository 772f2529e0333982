"""Model of the ledger: says in memory how transfers must end, in the order of their acceptance.

It knows no steps, batches, locks or failures: none of these may change how a transfer ends. It
imports nothing that it is compared with.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Key = tuple[str, str]
"""(client, idempotency key)"""
End = Literal["committed", "insufficient_funds", "wallet_frozen"]
Use = Literal["first", "repeat", "other"]


class Content(NamedTuple):
    """What a client asks for."""

    source: str
    destination: str
    amount_minor: int


@dataclass
class Model:
    """All transfers that were accepted, and what they leave in each wallet."""

    balances: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    external: set[str] = field(default_factory=set)
    """Wallets that may have less than nothing."""
    frozen: set[str] = field(default_factory=set)
    contents: dict[Key, Content] = field(default_factory=dict)
    ends: dict[Key, End] = field(default_factory=dict)

    def use(self, key: Key, content: Content) -> Use:
        """Return whether the key is new, used for the same, or used for something else."""
        known = self.contents.get(key)
        if known is None:
            return "first"
        return "repeat" if known == content else "other"

    def accept(self, key: Key, content: Content) -> Use:
        """Decide at once how a new transfer ends. A key that was used before changes nothing."""
        use = self.use(key, content)
        if use == "first":
            self.contents[key] = content
            self.ends[key] = end = self._end_of(content)
            if end == "committed":
                self.balances[content.source] -= content.amount_minor
                self.balances[content.destination] += content.amount_minor
        return use

    def _end_of(self, content: Content) -> End:
        if self.frozen & {content.source, content.destination}:
            return "wallet_frozen"
        left = self.balances[content.source] - content.amount_minor
        return "committed" if left >= 0 or content.source in self.external else "insufficient_funds"
