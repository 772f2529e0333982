"""Code to measure: a checkout, another commit, or a copy that claims one transfer at a time."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

_CLAIM_LIMIT = re.compile(r"^(CLAIM_LIMIT(?:: Final)? = )[\d_]+$", re.MULTILINE)
_NOT_CODE = shutil.ignore_patterns(".*", "__pycache__", "tests", "docs")


@dataclass(frozen=True)
class Code:
    """A folder with the code of one version. label: its commit, with a mark if it was changed."""

    folder: Path
    label: str


def checkout(folder: Path) -> Code:
    """Return the code in a folder as it is."""
    described = subprocess.run(
        ("git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"),  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return Code(folder, described.stdout.strip() or "unknown")


@contextmanager
def commit(repository: Path, name: str) -> Iterator[Code]:
    """Unpack a commit of the repository, whatever is checked out there.

    Raises: SystemExit: when there is no such commit.
    """
    packed, label = (
        subprocess.run(command, cwd=repository, capture_output=True, check=False)
        for command in (("git", "archive", name), ("git", "rev-parse", "--short=7", name))
    )
    if packed.returncode != 0:
        raise SystemExit(f"{name}: {packed.stderr.decode().strip()}")
    with _folder() as folder:
        with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Code(folder, label.stdout.decode().strip())


@contextmanager
def one_by_one(code: Code) -> Iterator[Code]:
    """Copy the code, and let each batch of the copy have a single transfer.

    Raises: SystemExit: when the limit is no longer where it was.
    """
    with _folder() as folder:
        shutil.copytree(code.folder, folder, ignore=_NOT_CODE, dirs_exist_ok=True)
        module = folder / "ledger" / "reserve.py"
        text, changed = _CLAIM_LIMIT.subn(r"\g<1>1", module.read_text())
        if changed != 1:
            raise SystemExit(f"CLAIM_LIMIT was not found in {module.relative_to(folder)}")
        module.write_text(text)
        yield Code(folder, code.label)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="truepenny-bench-code-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
