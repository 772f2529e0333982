"""The container image: what is in it, and what its Dockerfile promises."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

from stack.servers.os_account import SERVERS_ID
from testing.servers.shared import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
FINAL = DOCKERFILE.rpartition("\nFROM ")[2]
LEFT_OUT = {"bench", "client", "stack", "testing", "tests", "tools"}


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
    """The modules that production runs, and what the migrations read; no data, no history."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert rules[-2:] == ["**/__pycache__", "**/.*"]
    named = {rule.removeprefix("!") for rule in rules[1:-2]}
    tracked = subprocess.check_output(("git", "ls-files"), cwd=ROOT, text=True).splitlines()
    parts = {Path(file).parts[0] for file in tracked if file.endswith(".py")}
    code = parts - LEFT_OUT
    others = {"LICENSE", "NOTICE", "alembic.ini", "pyproject.toml"}
    others |= {"requirements-app.txt", "requirements-fast.txt"}
    assert named - {"web"} == (code | others) - {"web"}
    assert not any("secret" in name or name.startswith((".", "data")) for name in named)


def test_no_module_in_the_image_imports_one_that_is_left_out() -> None:
    listed = subprocess.check_output(("git", "ls-files", "*.py"), cwd=ROOT, text=True)
    inside = [file for file in listed.splitlines() if Path(file).parts[0] not in LEFT_OUT]
    imports = {
        (file, name.partition(".")[0])
        for file in inside
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        for name in imported(node)
    }
    assert ("wsgi.py", "workers") in imports
    assert not [(file, part) for file, part in imports if part in LEFT_OUT]


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
