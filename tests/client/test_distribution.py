"""The distribution: builds as wheel and sdist, and works in an environment with nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from stack.servers.ports import LOOPBACK
from testing.servers.shared import ROOT
from tests.client.conftest import Engine

CLIENT = ROOT / "client"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        (sys.executable, "-m", "hatchling", "build", "-d", str(folder)), cwd=CLIENT, check=True
    )
    return folder


def modules() -> set[str]:
    return {str(path.relative_to(CLIENT)) for path in (CLIENT / "truepenny").rglob("*.py")}


def test_the_wheel_has_the_package_and_its_types_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == modules() | {"truepenny/py.typed"}


def test_the_sdist_has_what_a_build_needs(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= modules() | {"truepenny/py.typed", "pyproject.toml", "README.md", "LICENSE"}


def test_the_first_lines_of_the_readme_run_in_an_empty_environment(
    built: Path, running: Engine, tmp_path: Path
) -> None:
    """No index is asked: what the wheel needs is copied from the tests' own environment."""
    place = tmp_path / "empty"
    venv.create(place, with_pip=False, symlinks=True)
    packages = next((place / "lib").glob("python*/site-packages"))
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)  # noqa: S202 - our own, made above
    for name in needed_by("httpx2"):
        copy_distribution(name, packages)
    source, destination = running.wallet(10), running.wallet()
    program = f"""
from decimal import Decimal
from truepenny import Truepenny
with Truepenny() as tp:
    tp.transfers.create(source="{source.id}", destination="{destination.id}",
                        amount=Decimal("1.00"), asset="USD").wait(20)
"""
    environment = {
        "TRUEPENNY_URL": f"http://{LOOPBACK}:{running.port}",
        "TRUEPENNY_API_KEY": running.keys["client"],
        "PATH": os.environ["PATH"],
    }
    python = str(place / "bin" / "python")
    subprocess.run(
        (python, "-W", "error", "-c", program), env=environment, cwd=tmp_path, check=True
    )
    with running.client() as tp:
        assert tp.wallets.get(destination.id).available == 1


def needed_by(name: str) -> set[str]:
    """Return a distribution and all that it needs here."""
    found, new = set[str](), {name}
    while new:
        name = new.pop()
        found.add(name)
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                new |= {requirement.name} - found
    return found


def copy_distribution(name: str, packages: Path) -> None:
    for file in distribution(name).files or ():
        origin = Path(str(file.locate()))
        if ".." not in file.parts and origin.suffix != ".pyc" and origin.is_file():
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(origin.read_bytes())


def test_the_client_is_typed_for_the_oldest_python_that_it_runs_on() -> None:
    checked = subprocess.run(
        (
            *(sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10"),
            *("--config-file", os.devnull, "truepenny"),
        ),
        cwd=CLIENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
