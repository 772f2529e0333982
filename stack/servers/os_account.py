"""The operating-system user that servers run as when root runs the stack.

PostgreSQL refuses to run as root, and a cache does not need to. The account is a user number
without an entry in the system's user list: nothing is created, it has no login, and unlike
`nobody` it is not shared with other services.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

# Above the ids that distributions assign, and below 65536, where id maps of containers often end.
SERVERS_ID = 64738


@dataclass(frozen=True)
class Account:
    """A user and a group number, the same by default."""

    uid: int = SERVERS_ID
    gid: int = SERVERS_ID

    def own(self, path: Path) -> None:
        """Make the account the owner of `path` and of all below it."""
        for entry in (path, *path.rglob("*")):
            os.chown(entry, self.uid, self.gid, follow_symlinks=False)


def servers_account() -> Account | None:
    """Return the account for servers; None when we are an ordinary user, and they run as us."""
    return Account() if os.geteuid() == 0 else None


def reachable_by_others(path: Path) -> bool:
    """Return whether another user may pass through all parents of `path` and use it.

    A clone in /root or in a private temporary folder is not reachable. The permissions of folders
    that are not ours are never loosened, so the answer decides where the servers' data goes.
    """
    resolved = path.resolve()
    wanted = stat.S_IXOTH if resolved.is_dir() else stat.S_IXOTH | stat.S_IROTH
    passable = all(parent.stat().st_mode & stat.S_IXOTH for parent in resolved.parents)
    return passable and resolved.stat().st_mode & wanted == wanted
