"""Succession of database servers: knows the newest primary, and refuses those that it replaced.

Each promotion of a standby gives the history of a PostgreSQL cluster a higher timeline. A server
with a lower one than was seen before was replaced: what is written there is lost. A server of
another cluster counts only if the database itself says that an operator has accepted it.

Guarantees that a process shares what it knows with the children that it forks.
"""

from __future__ import annotations

import mmap
import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from ledger.errors import Replaced

_KNOWN: Final = struct.Struct("qqI")
_HOST: Final = struct.Struct("H")
_HOST_AT: Final = 24
_SURVEYED_AT: Final = 28
_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Primary:
    """A server that takes writes, as it can be told from others that have the same data.

    system: the cluster's `system_identifier`, which its standbys share.
    accepted_at_us: when an operator last accepted the server, in microseconds since 1970; 0 if
    the database has no record of that yet.
    """

    system: int
    timeline: int
    accepted_at_us: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """The order of servers that replaced each other."""
        return self.accepted_at_us, self.timeline


class Succession:
    """What a process and its children know about the servers of one database.

    Without a lock, because a child may be killed while it holds one. A write that is overtaken by
    another one is made good by the next probe.
    """

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, _SIZE)

    @property
    def newest(self) -> Primary | None:
        """The newest primary that was seen, or that others have seen."""
        system, accepted_at_us, timeline = _KNOWN.unpack_from(self._shared)
        return Primary(system, timeline, accepted_at_us) if timeline else None

    @property
    def host(self) -> int:
        """The host to try first, as a position in the URL."""
        (host,) = _HOST.unpack_from(self._shared, _HOST_AT)
        return int(host)

    @property
    def is_surveyed(self) -> bool:
        """Whether all hosts were asked once."""
        return bool(self._shared[_SURVEYED_AT])

    def learn(self, primary: Primary, *, host: int | None = None) -> None:
        """Remember a primary, if it is newer than the newest. Harmless to repeat.

        host: where it is, if it was met there.
        """
        known = self.newest
        if known is None or primary.rank > known.rank:
            _KNOWN.pack_into(
                self._shared, 0, primary.system, primary.accepted_at_us, primary.timeline
            )
            if host is not None:
                self.prefer(host)

    def has_replaced(self, primary: Primary) -> bool:
        """Return whether a newer primary than this one was seen."""
        known = self.newest
        return known is not None and primary.rank < known.rank

    def require_newest(self, primary: Primary) -> None:
        """Raises: Replaced: when a newer primary than this one was seen."""
        if self.has_replaced(primary):
            raise Replaced

    def prefer(self, host: int) -> None:
        """Try this host first from now on."""
        _HOST.pack_into(self._shared, _HOST_AT, host)

    def note_survey(self) -> None:
        """Note that all hosts are asked."""
        self._shared[_SURVEYED_AT] = 1


_by_url: defaultdict[str, Succession] = defaultdict(Succession)


def succession_of(database_url: str) -> Succession:
    """Return what this process knows about the servers of the URL: one object for all engines.

    Made before the fork it is shared with the children.
    """
    return _by_url[database_url]
