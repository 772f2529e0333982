"""Links in the documents: each leads to a file of the repository and to a heading in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from testing.servers.shared import ROOT

DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("client", "deploy", "k8s", "web")),
    ]
)


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub makes from the headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    broken = []
    for link in links:
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_the_readme_can_be_read_in_three_minutes() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 900


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_is_named_exists(document: Path) -> None:
    """Named in backticks, with its folder: `tasks/chain.py`, also with a test of it behind.

    The folder is given from the root, or from the document's own folder.
    """
    named = re.findall(r"`((?:[a-z_0-9]+/)+[\w.]+\.(?:py|js|yml|sql))\b", document.read_text())
    folders = (ROOT, document.parent)
    assert [path for path in named if not any((each / path).exists() for each in folders)] == []


def names_in(module: Path) -> set[str]:
    """The functions, classes and constants that a module defines."""
    nodes = list(ast.walk(ast.parse(module.read_text())))
    defined = {
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    return defined | {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_name_that_follows_a_file_is_in_it(document: Path) -> None:
    """Written as `tasks/recovery.py: recover`, in a text or in a drawing."""
    named = re.findall(r"\b((?:[a-z_0-9]+/)+\w+\.py): (\w+)", document.read_text())
    assert [f"{path}: {name}" for path, name in named if name not in names_in(ROOT / path)] == []


def test_every_test_that_is_named_exists() -> None:
    named = {
        name for document in DOCUMENTS for name in re.findall(r"`(test_\w+)`", document.read_text())
    }
    existing = set().union(*map(names_in, (ROOT / "tests").rglob("test_*.py")))
    assert named
    assert named - existing == set()


def test_every_name_in_the_recipes_exists() -> None:
    """Constants and functions in backticks, such as `MOVEMENTS` or `all_blueprints`."""
    recipes = (ROOT / "CONTRIBUTING.md").read_text()
    recipes = recipes[recipes.index("## Where things go") : recipes.index("## Style")]
    named = set(re.findall(r"`(\w*[A-Z]\w*|\w+_\w+)`", recipes))
    product = (
        path
        for top in (
            "api",
            "beat",
            "ledger",
            "migrations",
            "monitoring",
            "settings",
            "tasks",
            "workers",
        )
        for path in (ROOT / top).rglob("*.py")
    )
    tests = (ROOT / "tests").rglob("test_*.py")
    existing = set().union(*map(names_in, [*product, *tests]))
    assert "MOVEMENTS" in named
    assert named - existing == set()
