"""Version of Truepenny, read from pyproject.toml, the one place that states it.

Guarantees that a running process and the files that it was started from name one version.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parent / "pyproject.toml"


@cache
def version() -> str:
    """Return the version, such as "1.0.0". The file is read once per process.

    Raises: OSError: when pyproject.toml does not lie beside the code.
    """
    return str(tomllib.loads(PROJECT.read_text())["project"]["version"])
