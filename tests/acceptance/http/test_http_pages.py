"""The pages and their assets over HTTP: content types, caching, and nothing else served."""

from __future__ import annotations

import re

import pytest
import requests

from stack.servers.ports import LOOPBACK
from testing.http_client import Caller

PAGES = ("/", "/ops")
REFERENCE = re.compile(r'(?:href|src)="(/assets/[^"]+)"')


@pytest.fixture(scope="module")
def visitor(api_port: int) -> Caller:
    """A caller without a key."""
    return Caller(api_port)


def _version(visitor: Caller) -> str:
    found = re.search(r"/assets/([0-9a-f]{20})/", visitor.get("/").text)
    assert found
    return found[1]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_allows_only_files_of_this_server(visitor: Caller, page: str) -> None:
    response = visitor.get(page)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(
        part.strip().split(" ", 1)
        for part in response.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "camera=()" in response.headers["Permissions-Policy"]
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=|https?://", response.text)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_a_page_is_served_with_its_type(visitor: Caller, page: str) -> None:
    names = REFERENCE.findall(visitor.get(page).text)
    assert len(names) > 20
    for name in names:
        response = visitor.get(name)
        assert response.status_code == 200, name
        assert response.headers["Content-Type"] == TYPES[name.rpartition(".")[2]], name


TYPES = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}


def test_every_imported_module_exists(visitor: Caller) -> None:
    names = [name for page in PAGES for name in REFERENCE.findall(visitor.get(page).text)]
    modules = {f"http://x{name}": visitor.get(name).text for name in names if name.endswith(".js")}
    for address, script in modules.items():
        for imported in re.findall(r'from\s*"(\.[^"]+)"', script):
            target = requests.compat.urljoin(address, imported)
            assert target in modules, f"{address} imports {imported}"


def test_assets_are_cached_and_pages_are_revalidated(visitor: Caller) -> None:
    page = visitor.get("/")
    assert page.headers["Cache-Control"] == "no-cache"
    again = visitor.get("/", **{"If-None-Match": page.headers["ETag"]})
    assert again.status_code == 304
    assert not again.content
    assert again.headers["Content-Security-Policy"]
    asset = visitor.get(f"/assets/{_version(visitor)}/shared/view.js")
    assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    first = visitor.get("/assets/first.js")
    assert first.headers["Cache-Control"] == "no-cache"


def test_head_answers_without_a_body(visitor: Caller) -> None:
    for path in (*PAGES, f"/assets/{_version(visitor)}/shared/view.js"):
        response = visitor("HEAD", path)
        assert response.status_code == 200
        assert not response.content
        assert int(response.headers["Content-Length"]) > 100


@pytest.mark.parametrize(
    "path",
    [
        "/assets/",
        "/assets/0123456789abcdef0123/shared/view.js",
        "/assets/{version}/nothing.js",
        "/assets/{version}/README.md",
        "/assets/{version}/wallet.html",
        "/assets/{version}/../wsgi.py",
        "/assets/{version}/..%2f..%2fwsgi.py",
        "/assets/{version}/shared/../../wsgi.py",
        "/assets/{version}//etc/passwd",
    ],
)
def test_nothing_else_is_served(visitor: Caller, path: str) -> None:
    target = path.format(version=_version(visitor))
    # Sent raw, because an HTTP client would normalise the path.
    head, _, body = visitor.raw(
        f"GET {target} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode()
    ).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in head
    assert b"no-store" in head
    assert b'"not_found"' in body


def test_other_methods_are_refused(visitor: Caller) -> None:
    response = visitor.post("/")
    assert response.status_code == 405
    assert "GET" in response.headers["Allow"]
