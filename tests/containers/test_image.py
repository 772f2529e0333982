"""Container image: rules that the Dockerfile and its build context keep."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from stack.servers.account import SERVERS_ID
from testing.servers.shared import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
FINAL = DOCKERFILE.rpartition("\nFROM ")[2]


def test_the_image_runs_as_an_unprivileged_user() -> None:
    users = re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE)
    assert users == [f"{SERVERS_ID}:{SERVERS_ID}"]


def test_the_base_can_be_chosen_and_is_pinned() -> None:
    assert "ARG BASE=python:3.11-slim-bookworm\n" in DOCKERFILE
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BUILD_BASE}", "${BASE}"]


def test_what_is_installed_is_pinned_and_hashed() -> None:
    for command in re.findall(r"pip install(?:[^&;]|\\\n)*", DOCKERFILE):
        assert "--require-hashes" in command
    assert "ADD " not in DOCKERFILE
    assert "curl" not in DOCKERFILE
    assert "apt-get" not in DOCKERFILE


def test_the_final_stage_installs_nothing_and_has_no_secret() -> None:
    assert "pip" not in FINAL
    assert not re.search(r"PASSWORD|SECRET|_KEY|_URL|TOKEN", DOCKERFILE)
    assert "STOPSIGNAL SIGTERM" in FINAL


def test_the_image_starts_a_role() -> None:
    assert 'ENTRYPOINT ["python", "-m", "runtime.entrypoint"]' in FINAL  # no shell: signals arrive
    assert "PYTHONDONTWRITEBYTECODE=1" in FINAL


def test_nothing_but_the_application_goes_into_the_image() -> None:
    """The packages that import one another, and the migrations; no data and no history."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert rules[-2:] == ["**/__pycache__", "**/.*"]
    named = {rule.removeprefix("!") for rule in rules[1:-2]}
    tracked = subprocess.check_output(("git", "ls-files"), cwd=ROOT, text=True).splitlines()
    parts = {Path(file).parts[0] for file in tracked if file.endswith(".py")}
    code = parts - {"bench", "testing", "tests"}
    others = {"LICENSE", "NOTICE", "alembic.ini", "pyproject.toml"}
    others |= {"requirements-app.txt", "requirements-fast.txt"}
    assert named - {"web"} == (code | others) - {"web"}
    assert not any("secret" in name or name.startswith((".", "data")) for name in named)
