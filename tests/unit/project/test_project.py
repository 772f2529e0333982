"""The project's metadata: one version, pinned dependencies, licences of what is vendored."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from api.openapi.document import build_document
from testing.servers.shared import ROOT
from version import version

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
# A new version is an image of another name, so the files of Kubernetes name it, too.
WITH_VERSION = (
    "Dockerfile",
    "k8s/base/kustomization.yaml",
    "k8s/overlays/prod/kustomization.yaml",
    "k8s/README.md",
)
COMPILED = {
    "requirements.txt": ("project", "stack"),
    "requirements-app.txt": ("project",),
    "requirements-fast.txt": ("fast",),
    "requirements-dev.txt": ("project", "dev"),
    "requirements-audit.txt": ("audit",),
}


def versions_in(root: Path) -> dict[str, set[str]]:
    """Return the versions of Truepenny named in files outside the code, by file."""
    found: dict[str, set[str]] = {}
    for name in WITH_VERSION:
        text = (root / name).read_text()
        if name.endswith(".yaml"):
            images = yaml.safe_load(text)["images"]
            found[name] = {image["newTag"] for image in images if image["name"] == "truepenny"}
        else:
            stated = r"(?:image\.version=\"|truepenny:|truepenny-migrations-)(\d[\w.]*)"
            found[name] = set(re.findall(stated, text))
    return found


def test_the_code_and_the_contract_have_the_version_of_the_project() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["version"])
    assert version() == PROJECT["version"]
    assert build_document()["info"]["version"] == PROJECT["version"]


def test_image_and_kubernetes_have_the_version_of_the_project() -> None:
    """`make version` writes it there."""
    assert versions_in(ROOT) == {name: {PROJECT["version"]} for name in WITH_VERSION}


def test_make_version_writes_it_everywhere(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", *WITH_VERSION):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    pyproject = tmp_path / "pyproject.toml"
    now, then = f'version = "{PROJECT["version"]}"', 'version = "98.7.6"'
    pyproject.write_text(pyproject.read_text().replace(now, then))
    subprocess.run(("make", "version"), cwd=tmp_path, check=True, timeout=30)
    assert versions_in(tmp_path) == {name: {"98.7.6"} for name in WITH_VERSION}


def test_the_changelog_has_a_dated_section_for_the_version() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    stated, _, day = headings[1].partition(" - ")
    assert stated == PROJECT["version"]
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", day)


def asked_for(group: str) -> list[Requirement]:
    """Return the packages of a group in pyproject.toml, including its included groups."""
    entries = (
        PROJECT["dependencies"] if group == "project" else PYPROJECT["dependency-groups"][group]
    )
    return [
        requirement
        for entry in entries
        for requirement in (
            asked_for(entry["include-group"]) if isinstance(entry, dict) else [Requirement(entry)]
        )
    ]


@dataclass(frozen=True)
class Pin:
    """One entry of a compiled file: requirements may differ by version of Python."""

    package: NormalizedName
    version: str
    rest: str


def pins_in(name: str) -> list[Pin]:
    """Every entry of a compiled file, with its hashes and what requires it."""
    entries = re.split(r"\n(?=[\w])", (ROOT / name).read_text())
    found = [
        re.fullmatch(r"([\w.-]+)(?:\[.*?\])?==(\S+)(.*)", one, re.DOTALL) for one in entries[1:]
    ]
    assert all(found), name
    return [Pin(canonicalize_name(one[1]), one[2], one[3]) for one in found if one]


@pytest.mark.parametrize("name", COMPILED)
def test_requirements_are_compiled_from_the_project(name: str) -> None:
    pins = pins_in(name)
    asked = {
        canonicalize_name(one.name): one for group in COMPILED[name] for one in asked_for(group)
    }
    for pin in pins:
        if (requirement := asked.get(pin.package)) is not None:
            assert requirement.specifier.contains(pin.version), pin.package
    # Nothing is missing, and nothing is left that the project no longer requires.
    assert {pin.package for pin in pins if "pyproject.toml" in pin.rest} == set(asked)


@pytest.mark.parametrize("name", COMPILED)
def test_every_requirement_has_hashes(name: str) -> None:
    for pin in pins_in(name):
        assert "--hash=sha256:" in pin.rest, pin.package


def test_one_package_has_the_same_versions_in_all_requirements() -> None:
    versions: dict[NormalizedName, set[frozenset[str]]] = {}
    for name in COMPILED:
        pins = pins_in(name)
        for package in {pin.package for pin in pins}:
            of_package = frozenset(pin.version for pin in pins if pin.package == package)
            versions.setdefault(package, set()).add(of_package)
    assert not {package: found for package, found in versions.items() if len(found) > 1}


def tracked() -> list[str]:
    listed = subprocess.check_output(("git", "ls-files"), cwd=ROOT, text=True)
    return listed.splitlines()


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert PROJECT["license"] == "Apache-2.0"
    for pattern in PROJECT["license-files"]:
        assert list(ROOT.glob(pattern)), pattern


def test_every_vendored_file_is_in_the_notice_with_a_licence_beside_it() -> None:
    notice = (ROOT / "NOTICE").read_text()
    vendored = {name for name in tracked() if "vendor" in Path(name).parts}
    assert vendored
    named = set(re.findall(r"\S*vendor/\S+(?:\.js|\.woff2|\.txt)", notice))
    assert named == {name for name in vendored if not name.endswith("README.md")}
    for paragraph in notice.split("\n\n"):
        if paragraph.lstrip().startswith("web/vendor/"):
            assert paragraph.rstrip().endswith("-LICENSE.txt"), paragraph


def test_every_text_file_keeps_to_the_editor_settings() -> None:
    wrong = []
    for name in tracked():
        path = ROOT / name
        if path.suffix in (".png", ".woff2") or "vendor" in path.parts or not path.is_file():
            continue
        text = path.read_bytes().decode()
        if text and not text.endswith("\n"):
            wrong.append(f"{name}: no newline at the end")
        if re.search(r"[ \t\r]$", text, re.MULTILINE):
            wrong.append(f"{name}: blanks at the end of a line")
        if "\t" in text and path.name != "Makefile":
            wrong.append(f"{name}: a tab")
    assert not wrong


def test_the_forge_and_pre_commit_run_the_projects_own_commands() -> None:
    """They name no tool that `make venv` does not install, and no second list of checks."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = workflow["jobs"]["check"]["steps"]
    assert steps[-1] == {"run": "bash .ci/run"}
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    tools = {hook["entry"].split()[2] for hook in hooks[0]["hooks"]}
    dev = {canonicalize_name(one.name) for one in asked_for("dev")}
    assert tools == {"ruff", "mypy"}
    assert tools < dev


def test_every_path_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", text) + re.findall(r"\]\(([^)#]+)", text)
    paths = {
        name for name in named if "/" in name or name.endswith((".md", ".toml", ".py", ".yml"))
    }
    assert paths
    assert {name for name in paths if not (ROOT / name).exists()} == set()
