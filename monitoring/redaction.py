"""Redaction: removes secrets, amounts, personal data and addresses from a text.

Guarantees that everything with a known pattern is removed: API keys and credentials, the value
after a word like `password`, e-mail addresses, network addresses, all numbers (any may be an
amount), long random-looking words, and the users and queries of URLs. UUIDs stay: with them an
operator finds the row in our own database. Data without a pattern, such as a name, cannot be
found: texts of our own programs that may contain it are not sent at all
(`monitoring.sentry.allowlist`); the error text of a browser is sent, redacted.
Takes time proportional to the length of the text, whatever it contains.
"""

from __future__ import annotations

import re
from typing import Final

MAX_LENGTH: Final = 2_000
_OVERLAP: Final = 300
"""Characters read beyond the cut, because half an address would not match its pattern."""

# Every repetition is limited, so that no text makes the search slow.
_IN_PATHS: Final = r"""
  (?P<key>\btp_[\w-]*)
| (?P<email>[\w.+%'-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){0,10})
| (?P<kept>/v1\b|(?<![\w-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![\w-]))
| (?P<token>(?=[\w-]{0,100}\d)[\w-]{24,})
| (?P<number>\d+(?:[.,_'\u00a0\u2009\u202f]\d+)*)
"""
_IN_TEXTS: Final = rf"""
  (?P<url>\b[a-z][a-z0-9+.-]{{1,20}}://[^\s"'<>`]+)
| (?P<named>[\w-]{{0,30}}(?:passw|secret|token|authorization|cookie|api.?key|idempotency.?key)
    [\w-]{{0,30}}["']?\s{{0,3}}[:=]\s{{0,3}}
    (?:(?:bearer|basic)\s{{1,3}}[^\s"',;]+|"[^"]*"?|'[^']*'?|[^,;\n]+))
| (?P<credential>\b(?:bearer|basic)\s{{1,3}}[^\s"',;]+)
| (?P<query>\?[^\s"'<>`=]{{0,100}}=[^\s"'<>`]*)
| (?P<address>(?<![\w:])[0-9a-f]{{0,4}}(?::[0-9a-f]{{0,4}}){{2,7}}(?![\w:]))
| {_IN_PATHS}
"""
_TEXT: Final = re.compile(_IN_TEXTS, re.IGNORECASE | re.VERBOSE)
_SCHEME: Final = re.compile(r"(?:blob:)?[a-z][a-z-]{0,30}(?:\+[a-z0-9]{1,20})?", re.IGNORECASE)
_HOST: Final = re.compile(r"(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{1,45}\])(?::\d{1,5})?", re.IGNORECASE)
_PATH: Final = re.compile(_IN_PATHS, re.IGNORECASE | re.VERBOSE)


def scrub(text: str, *, max_length: int = MAX_LENGTH) -> str:
    """Return the text redacted, printable, and cut to the maximum length."""
    printable = "".join(
        each if each.isprintable() or each == "\n" else " "
        for each in text[: max_length + _OVERLAP]
    )
    return _TEXT.sub(_replacement, printable)[:max_length]


def scrub_path(path: str, *, max_length: int = MAX_LENGTH) -> str:
    """Return the path of a URL, redacted, without its query."""
    bare = re.split(r"[?#]", path[: max_length + _OVERLAP], maxsplit=1)[0]
    printable = "".join(each if each.isprintable() else " " for each in bare)
    return _PATH.sub(_replacement, printable)[:max_length]


def scrub_url(url: str, *, max_length: int = MAX_LENGTH) -> str:
    """Return scheme, host and path of a URL: no user, no password, no query, no fragment."""
    scheme, _, rest = url.partition("://")
    if not _SCHEME.fullmatch(scheme):
        return scrub_path(url, max_length=max_length)
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    if not _HOST.fullmatch(host):
        # A user and password, which may contain any of these characters: cut up to the last @.
        host, slash, path = re.split(r"[?#]", rest.rpartition("@")[2])[0].partition("/")
    if not _HOST.fullmatch(host):
        return f"{scheme}://[host]"[:max_length]
    if "@" in path:  # it may be part of a password
        path = "[path]"
    return f"{scheme}://{host}{scrub_path(slash + path)}"[:max_length]


def _replacement(match: re.Match[str]) -> str:
    kind = match.lastgroup or "text"
    if kind == "kept":
        return match.group()
    if kind == "url":
        return scrub_url(match.group())
    return f"[{kind}]"
