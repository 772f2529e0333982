"""The unprivileged account that servers run as when the stack itself runs as root.

PostgreSQL refuses to run as root, and a cache has no business being root. The account is a
number of its own, without an entry in the system's user list: nothing is created, nobody logs
in with it, and no other service shares it, as they share `nobody`.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

# Above the ids that distributions hand out, below 65536, where containers' id maps often end.
SERVERS_ID = 64738


@dataclass(frozen=True)
class Account:
    """A user and group number, both the same by default."""

    uid: int = SERVERS_ID
    gid: int = SERVERS_ID

    def own(self, path: Path) -> None:
        """Make the account the owner of `path` and of all below it."""
        for entry in (path, *path.rglob("*")):
            os.chown(entry, self.uid, self.gid, follow_symlinks=False)


def servers_account() -> Account | None:
    """The account for servers, or None where we are an ordinary user and they run as us."""
    return Account() if os.geteuid() == 0 else None


def reachable_by_others(path: Path) -> bool:
    """Whether a stranger to `path` may pass through all its parents and use it.

    A clone in /root or in a private temporary folder is not reachable, and we never loosen
    the permissions of a folder that is not ours: the answer decides where servers live.
    """
    resolved = path.resolve()
    wanted = stat.S_IXOTH if resolved.is_dir() else stat.S_IXOTH | stat.S_IROTH
    passable = all(parent.stat().st_mode & stat.S_IXOTH for parent in resolved.parents)
    return passable and resolved.stat().st_mode & wanted == wanted
