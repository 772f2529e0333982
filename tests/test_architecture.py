"""The directions of import and the shape of the code, proven: both rot otherwise."""

from __future__ import annotations

import ast
import io
import os
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from testing.identity import IDENTITY

ROOT = Path(__file__).parent.parent

# What each part may import of ours. Imports point inward: settings <- ledger <- monitoring <-
# prices, then prices <- api, and apart from it prices <- tasks <- beat <- workers. `resilience`
# serves all from monitoring on; `runtime` starts the programs. What is not listed here composes:
# wsgi.py, stack/, bench/, testing/ and tests/.
MAY_IMPORT = {
    "settings": set[str](),
    "resilience": set[str](),
    "version": set[str](),
    "ledger": {"settings"},
    "migrations": {"ledger", "settings"},
    "monitoring": {"ledger", "resilience", "settings"},
    "prices": {"ledger", "monitoring", "resilience", "settings"},
    "api": {"ledger", "monitoring", "prices", "resilience", "settings", "version"},
    "tasks": {"ledger", "monitoring", "prices", "resilience", "settings"},
    "beat": {"monitoring", "resilience", "settings", "tasks"},
    "workers": {"beat", "ledger", "monitoring", "resilience", "settings", "tasks"},
    "runtime": {"monitoring", "settings", "tasks"},
    "tools": set[str](),
    "client": set[str](),
}

# What each part must not know of the outside world.
MUST_NOT_KNOW = {
    "settings": {"sqlalchemy", "flask", "celery", "kombu", "redis", "requests", "sentry_sdk"},
    "resilience": {
        "sqlalchemy",
        "flask",
        "werkzeug",
        "gunicorn",
        "pydantic",
        "celery",
        "kombu",
        "requests",
        "sentry_sdk",
    },
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
    "runtime": {"flask", "werkzeug", "sqlalchemy"},
    "monitoring": {"celery"},
    "tools": {"sqlalchemy", "flask", "celery", "kombu", "redis", "requests", "psycopg2", "pytest"},
    "client": {
        "sqlalchemy",
        "flask",
        "werkzeug",
        "celery",
        "kombu",
        "redis",
        "requests",
        "pydantic",
        "structlog",
        "sentry_sdk",
        "psycopg2",
    },
}

# A distribution of its own, whose package stands in this folder. It has its own names for what
# it shares with the server, and reads its own environment.
CLIENT = ROOT / "client"

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
MAX_MODULES_IN_A_FOLDER = 18
MAX_PUBLIC_NAMES_DEFINED_TWICE = 3
MAX_SINGLE_USE_HELPERS_PER_1000_LINES = 6.0


def sources(part: str) -> list[Path]:
    """The Python files of a part, which is a folder or a module at the top."""
    folder = ROOT / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def all_sources() -> list[Path]:
    """Every Python file of ours that is no test."""
    parts = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    modules = {path.stem for path in ROOT.glob("*.py")}
    return [path for part in sorted(parts | modules) if part != "tests" for path in sources(part)]


def product_sources() -> list[Path]:
    """Every Python file of the server that is no test and no support of tests."""
    left_out = ("testing", CLIENT.name)
    return [path for path in all_sources() if path.relative_to(ROOT).parts[0] not in left_out]


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
    composing = {"stack", "bench", "testing", "tests", "wsgi"}
    parts = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in all_sources()}
    assert parts - composing == set(MAY_IMPORT)
    assert all(sources(part) for part in MAY_IMPORT)


def test_the_environment_is_read_in_one_place() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for path in all_sources()
        if path not in (ROOT / "settings/__init__.py", CLIENT / "truepenny/environment.py")
        and path.relative_to(ROOT).parts[0] not in ("stack", "bench", "testing")
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
        module_name(path)
        for part in (*MAY_IMPORT, "wsgi")
        for path in sources(part)
        if path.parent.name != "versions" and path.stem not in ("__main__", "env", "gunicorn.conf")
    ]
    program = f"""
import importlib, sys
sys.path.append("client")
from testing.identity import IDENTITY
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen"):
        raise SystemExit(f"{{event}} at import: {{arguments[1:]}}")
sys.addaudithook(refuse)
for name in {modules!r}:
    importlib.import_module(name)
"""
    addresses = {
        **IDENTITY,
        "DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "CACHE_URL": "redis://127.0.0.1:1/0",
    }
    command = [sys.executable, "-W", "error", "-c", program]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **addresses}, check=True, timeout=60)


def test_a_folder_shows_few_modules() -> None:
    shown = Counter(
        path.parent
        for pattern in ("*.py", "*.js")
        for path in ROOT.rglob(pattern)
        if not any(part[0] == "." for part in path.relative_to(ROOT).parts)
        and path.name != "__init__.py"
    )
    crowded = {
        str(folder.relative_to(ROOT)): count
        for folder, count in shown.items()
        if count > MAX_MODULES_IN_A_FOLDER
    }
    assert not crowded


def test_sub_packages_form_no_circle() -> None:
    """A part's modules stand for themselves, and a sub-package's for the whole of it."""
    modules = {module_name(path): path for path in all_sources()}
    packages = {name: package_of(name, path) for name, path in modules.items()}
    graph: dict[str, set[str]] = {package: set() for package in packages.values()}
    for name, path in modules.items():
        for target in imported_modules(path, set(modules)):
            graph[packages[name]].add(packages[target])
    for package, targets in graph.items():
        targets.discard(package)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def module_name(path: Path) -> str:
    root = CLIENT if path.is_relative_to(CLIENT) else ROOT
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(name: str, path: Path) -> str:
    """Return the sub-package that a module belongs to, or the module, if it stands by itself.

    It stands by itself beside sub-packages, and at the top of a part.
    """
    is_beside_packages = any(each.is_dir() for each in path.parent.iterdir() if each.name[0] != "_")
    if path.name == "__init__.py" or is_beside_packages or name.count(".") < 2:
        return name
    return name.rpartition(".")[0]


def imported_modules(path: Path, modules: set[str]) -> Iterator[str]:
    """Every module of ours that a file imports at its top level or later."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found = full if full in modules else node.module
                if found in modules:
                    yield found
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)


def test_a_public_name_is_defined_once() -> None:
    places: dict[str, list[str]] = {}
    for path in product_sources():
        for node in parse(path).body:
            for name in type_names(node):
                places.setdefault(name, []).append(str(path.relative_to(ROOT)))
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert len(twice) <= MAX_PUBLIC_NAMES_DEFINED_TWICE, twice


def type_names(node: ast.stmt) -> list[str]:
    """Return the public types that a statement defines: classes, and aliases in CapWords."""
    match node:
        case ast.ClassDef(name=name):
            names = [name]
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            names = [name] if re.match(r"[A-Z]+[a-z]", name) else []
        case _:
            names = []
    return [name for name in names if not name.startswith("_")]


def test_few_helpers_are_used_once() -> None:
    """A private function earns its name by a second use, or by naming a hard idea."""
    mentions: Counter[str] = Counter()
    helpers: dict[str, str] = {}
    lines = 0
    for path in product_sources():
        text = path.read_text()
        lines += len(text.splitlines())
        mentions.update(
            token.string
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.NAME
        )
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef) and re.match(r"_(?!_)", node.name):
                helpers[node.name] = f"{path.relative_to(ROOT)}:{node.lineno}"
    once = [f"{where} {name}" for name, where in helpers.items() if mentions[name] == 2]
    assert 1000 * len(once) / lines <= MAX_SINGLE_USE_HELPERS_PER_1000_LINES, once
