"""Files of the pages, read once at start and kept in memory.

Guarantees that an address is looked up in a table, never opened as a path. All assets are
served below one folder that is named after a digest of all of them. So a browser can keep them
without asking again, and a page never mixes modules of two releases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PREFIX: Final = "/assets"
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""The files that are served as assets. Pages have their own addresses; no other file is served."""
FIRST_SCRIPT: Final = "first.js"
"""The only script without a version in its address. It is not a module, and it must run on every
page, even while the other files of the page's version are not available."""


@dataclass(frozen=True)
class WebFile:
    """A file as it is sent."""

    content: bytes
    content_type: str
    etag: str


@dataclass(frozen=True)
class WebFiles:
    """Everything below web/, in memory."""

    version: str
    assets: Mapping[str, WebFile]
    pages: Mapping[str, WebFile]


def read_web_files(folder: Path) -> WebFiles:
    """Read the folder: assets by their path below it, pages by the name of their HTML file."""
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in _TYPES
    }
    version = _digest(*(part for name in contents for part in (name.encode(), contents[name])))
    return WebFiles(
        version,
        {
            name: WebFile(content, _TYPES[Path(name).suffix], _digest(content))
            for name, content in contents.items()
        },
        {
            path.stem: _page(path, contents, base=f"{PREFIX}/{version}")
            for path in sorted(folder.glob("*.html"))
        },
    )


def _page(path: Path, names: Iterable[str], *, base: str) -> WebFile:
    # Name all modules that the page imports, so that a browser asks for them at once.
    folders = ("shared", "vendor", path.stem)
    preloads = "\n".join(
        f'<link rel="modulepreload" href="{base}/{name}">'
        for name in names
        if name.partition("/")[0] in folders and name.endswith(".js")
    )
    text = path.read_text().replace("{preloads}", preloads).replace("{assets}", base)
    content = text.encode()
    return WebFile(content, "text/html; charset=utf-8", _digest(content))


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()[:20]
