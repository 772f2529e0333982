"""The directions of import and the shape of the code, proven: both rot otherwise."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What each part may import of ours. Imports point inward: settings <- ledger <- tasks and
# api <- workers. What is not listed here composes: wsgi.py, stack/, bench/ and tests/.
MAY_IMPORT = {
    "addresses": set[str](),
    "settings": {"addresses"},
    "version": set[str](),
    "ledger": {"settings"},
    "migrations": {"ledger", "settings"},
    "monitoring": {"ledger", "settings"},
    "prices": {"ledger", "monitoring", "settings"},
    "api": {"ledger", "monitoring", "prices", "settings", "version"},
    "tasks": {"ledger", "monitoring", "prices", "settings"},
    "beat": {"monitoring", "settings", "tasks"},
    "workers": {"beat", "ledger", "monitoring", "settings", "tasks"},
}

# What each part must not know of the outside world.
MUST_NOT_KNOW = {
    "addresses": {"sqlalchemy", "flask", "celery", "kombu", "redis", "requests", "sentry_sdk"},
    "settings": {"sqlalchemy", "flask", "celery", "kombu", "redis", "requests", "sentry_sdk"},
    "version": {"sqlalchemy", "flask", "celery", "kombu", "redis", "requests", "sentry_sdk"},
    "ledger": {
        "flask",
        "celery",
        "kombu",
        "redis",
        "requests",
        "sentry_sdk",
        "gunicorn",
        "pydantic",
    },
    "migrations": {"flask", "celery", "kombu", "redis", "requests", "sentry_sdk"},
    "prices": {"flask", "werkzeug", "gunicorn", "pydantic", "celery", "kombu", "sentry_sdk"},
    "api": {"celery", "kombu"},
    "tasks": {"flask", "werkzeug", "gunicorn"},
    "beat": {"flask", "werkzeug", "gunicorn", "sqlalchemy"},
    "workers": {"flask", "werkzeug", "gunicorn"},
    "monitoring": {"celery"},
}

MEANINGLESS = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "base",
    "manager",
    "managers",
    "misc",
}
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 55


def sources(part: str) -> list[Path]:
    """The Python files of a part, which is a folder or a module at the top."""
    folder = ROOT / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def all_sources() -> list[Path]:
    """Every Python file of ours that is no test."""
    parts = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    modules = {path.stem for path in ROOT.glob("*.py")}
    return [path for part in sorted(parts | modules) if part != "tests" for path in sources(part)]


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """The top-level names of what a file imports, anywhere in it, each with its line."""
    here = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for node in ast.walk(parse(path)):
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield name.name.partition(".")[0], node.lineno
            case ast.ImportFrom(level=0, module=str(module)):
                yield module.partition(".")[0], node.lineno
            case ast.ImportFrom():
                yield here, node.lineno


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_point_inward(part: str) -> None:
    ours = {path.name for path in ROOT.iterdir() if path.is_dir()} | {"settings", "version", "wsgi"}
    allowed = MAY_IMPORT[part] | {part}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(part)
        for name, line in imported(path)
        if name in ours - allowed or name in MUST_NOT_KNOW[part]
    ]
    assert not wrong


def test_every_part_has_its_directions() -> None:
    composing = {"stack", "bench", "tests", "wsgi"}
    parts = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in all_sources()}
    assert parts - composing == set(MAY_IMPORT)
    assert all(sources(part) for part in MAY_IMPORT)


def test_the_environment_is_read_in_one_place() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for path in all_sources()
        if path != ROOT / "settings.py"
        and path.relative_to(ROOT).parts[0] not in ("stack", "bench")
        for node in ast.walk(parse(path))
        if _reads_environment(node)
    ]
    assert not wrong


def _reads_environment(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv"):
            return True
        case ast.ImportFrom(module="os", names=names):
            return any(name.name in ("environ", "environb", "getenv") for name in names)
    return False


def test_no_module_has_a_name_that_fits_everything() -> None:
    names = [
        part for path in all_sources() for part in path.relative_to(ROOT).with_suffix("").parts
    ]
    assert not MEANINGLESS & set(names)


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in all_sources()
        if (lines := len(path.read_text().splitlines())) > MAX_FILE_LINES
    }
    assert not long


def test_functions_stay_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {lines} lines"
        for path in all_sources()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert not long


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in all_sources()
        if path.read_text().strip() and not ast.get_docstring(parse(path))
    ]
    assert not silent


def test_nothing_connects_at_import() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for part in (*MAY_IMPORT, "wsgi")
        for path in sources(part)
        if path.parent.name != "versions" and path.stem not in ("__main__", "env", "gunicorn.conf")
    ]
    program = f"""
import importlib, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        raise SystemExit(f"{{event}} at import: {{arguments[1:]}}")
sys.addaudithook(refuse)
for name in {modules!r}:
    importlib.import_module(name)
"""
    addresses = {
        "DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "CACHE_URL": "redis://127.0.0.1:1/0",
    }
    command = [sys.executable, "-W", "error", "-c", program]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **addresses}, check=True, timeout=60)
