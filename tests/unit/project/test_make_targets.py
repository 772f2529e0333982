"""Targets of the Makefile that use tools from outside, run with stand-ins for these tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from testing.servers.shared import ROOT

REQUIREMENTS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
NO_REPORT = "echo 'ERROR: example: could not be audited' >&2; exit 1"
VULNERABLE = "echo 'example 1.0 CVE-0000-0000' >.reports/audit.txt; exit 1"
CLEAN = ": >.reports/audit.txt"
NOT_AUDITED = (
    "truepenny: NOT AUDITED: the advisory database did not answer for every package; "
    ".reports/audit.log says why"
)


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make in a folder, where programs in `bin` come before those of the machine."""
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ("make", *arguments),
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def audit(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    script(folder / ".tools/audit/bin/pip-audit", body)
    (folder / "requirements-audit.txt").touch()
    (folder / ".tools/audit/installed").touch()
    return make(folder, "audit")


def test_an_audit_without_an_answer_fails_and_says_that_nothing_was_audited(folder: Path) -> None:
    done = audit(folder, NO_REPORT)
    assert done.returncode
    lines = done.stderr.splitlines()
    assert lines[:2] == ["ERROR: example: could not be audited", NOT_AUDITED]


def test_an_audit_does_not_take_an_older_report_for_an_answer(folder: Path) -> None:
    audit(folder, VULNERABLE)
    done = audit(folder, NO_REPORT)
    assert done.returncode
    assert NOT_AUDITED in done.stderr
    assert "CVE" not in done.stdout


def test_an_audit_shows_vulnerabilities_and_fails(folder: Path) -> None:
    done = audit(folder, VULNERABLE)
    assert done.returncode
    assert done.stdout.splitlines()[0] == "example 1.0 CVE-0000-0000"
    assert "NOT AUDITED" not in done.stderr
    assert "known vulnerabilities" in done.stderr


def test_an_audit_that_finds_nothing_succeeds(folder: Path) -> None:
    done = audit(folder, CLEAN)
    assert (done.returncode, done.stdout) == (0, "truepenny: no known vulnerabilities\n")


def test_an_audit_reads_all_requirements_and_leaves_no_package_out(folder: Path) -> None:
    audit(folder, 'echo "$@" >arguments')
    arguments = (folder / "arguments").read_text().split()
    assert sorted(each for each in arguments if each.endswith(".txt")) == [
        ".reports/audit.txt",
        *REQUIREMENTS,
    ]
    assert "--strict" in arguments  # otherwise a package that it does not know counts as good


def test_the_image_is_built_on_images_named_without_digests(folder: Path) -> None:
    script(folder / "bin/docker", "exit 0")
    (folder / "Dockerfile").write_text("ARG BASE=python:3.11-slim@sha256:aa11\nFROM ${BASE}\n")
    (folder / "docker-compose.yml").write_text(
        "    image: postgres:15.20-bookworm@sha256:bb22\n"
        "    image: &redis redis:7.2.16-bookworm\n"
        "    image: *redis\n"
        "    image: prom/prometheus:v3.13.5\n"
        "    image: truepenny:${TRUEPENNY_TAG:-local}\n"
    )
    done = make(folder, "image", "BASE_IMAGES=echo")
    assert done.stdout.split() == [
        "python:3.11-slim",
        "postgres:15.20-bookworm",
        "redis:7.2.16-bookworm",
        "prom/prometheus:v3.13.5",
    ]
