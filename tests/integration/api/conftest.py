"""A cache of its own for each module, which a test may kill, freeze and start again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.servers.home import find_home
from stack.servers.kept_values import KeptValues
from stack.servers.own import Servers
from testing.servers.breakable import Breakable, breakable


@pytest.fixture(scope="module")
def cache() -> Iterator[Breakable]:
    folder = Path(tempfile.mkdtemp(prefix="truepenny-tests-"))
    folder.chmod(0o711)  # the servers' account must be able to enter
    server = Servers(find_home(folder, say=print), KeptValues(folder / "secrets")).cache()
    with breakable(server, folder / "cache.log") as running:
        yield running
    shutil.rmtree(folder)
