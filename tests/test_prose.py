"""Prose rules, proven for every file: plain words, and docstrings that name the thing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).relative_to(ROOT)

# Words of a private or past language. Each has a plain one: see STYLE in CONTRIBUTING.md.
REFUSED = (
    "amiss",
    "anew",
    "betimes",
    "forthwith",
    "for ever",
    "hitherto",
    "kin",
    "lest",
    "nigh",
    "noes",
    "nought",
    "thereof",
    "told of",
    "whereof",
    "whoever",
)
# Between the words of one that has two may stand a line's end, with its comment sign.
PATTERN = re.compile(
    r"\b(" + "|".join(word.replace(" ", r"[\s#*/-]+") for word in REFUSED) + r")\b", re.IGNORECASE
)
# A first line names the thing; one that asks a question leaves the naming to the reader.
QUESTION = re.compile(r"(What|How|Where|Whether|Who|Whom|Whose|Which|When|Why)\b")
MAX_WORDS = 20

KINDS = {".py", ".md", ".js", ".html", ".css", ".yml", ".yaml", ".toml", ".sh", ".sql", ".svg"}
NAMED = {"Makefile", "Dockerfile", "run", ".editorconfig", ".dockerignore"}
NOT_OURS = {"vendor", "node_modules", "__pycache__"}


def texts() -> Iterator[Path]:
    """Every file of ours that a person reads, relative to the root."""
    for path in sorted(ROOT.rglob("*")):
        file = path.relative_to(ROOT)
        folders = file.parts[:-1]
        if NOT_OURS & set(folders) or any(
            name[0] == "." and name not in (".ci", ".github") for name in folders
        ):
            continue
        if (path.suffix in KINDS or path.name in NAMED) and path.is_file() and file != HERE:
            yield file


def modules() -> list[Path]:
    return [file for file in texts() if file.suffix == ".py"]


def test_every_text_keeps_to_plain_words() -> None:
    found = [
        f"{file}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for file in texts()
        for text in [(ROOT / file).read_text()]
        for match in PATTERN.finditer(text)
    ]
    assert not found


def first_line(module: Path) -> str:
    """Return the first sentence or line of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse((ROOT / module).read_text())) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def test_a_module_docstring_names_the_thing() -> None:
    asking = [f"{file}: {line}" for file in modules() if QUESTION.match(line := first_line(file))]
    assert not asking


def test_a_module_docstring_begins_with_one_short_line() -> None:
    long = [
        f"{file}: {len(line.split())} words"
        for file in modules()
        if len((line := first_line(file)).split()) > MAX_WORDS
    ]
    assert not long


@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        ("It starts Anew.", True),
        ("kept for\n    # ever", True),
        ("the kinds of broker", False),
        ("Signals and their kin", True),
        ("told of", True),
        ("untold office", False),
    ],
)
def test_the_rule_finds_what_it_should(text: str, *, is_refused: bool) -> None:
    assert bool(PATTERN.search(text)) is is_refused
