"""TLS options of broker and cache URLs: one meaning for every client library.

Guarantees that `rediss://` and `amqps://` are verified unless the URL says otherwise: redis-py
verifies by default, kombu does not. And that a URL has no option that one library heeds and
another refuses, or that would replace a time-out of ours.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from settings.errors import SettingsError

_ENCRYPTED: Final = ("rediss", "amqps")
_BEGINNING: Final = re.compile(r"[a-z]+://", re.ASCII | re.IGNORECASE)
_VERIFY: Final = "ssl_cert_reqs"
_VERIFY_VALUES: Final = {
    "required": "required",
    "none": "none",
    # As Celery's documentation spells them.
    "CERT_REQUIRED": "required",
    "CERT_NONE": "none",
}
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_CHECK_HOST: Final = "ssl_check_hostname"
_OPTIONS: Final = (_VERIFY, *_FILES, _CHECK_HOST)


def with_tls_options(name: str, url: str) -> str:
    """Return the URL, or several separated by `;`, with complete TLS options.

    Raises: SettingsError: when an option cannot be used. It shows nothing of the URL.
    """
    urls = url.split(";")
    if not all(map(_BEGINNING.match, urls)):
        raise SettingsError(
            f"{name} has a ; that no further URL follows: in a password it must be escaped as %3B"
        )
    schemes = {urlsplit(each).scheme for each in urls}
    if len(schemes) > 1:
        raise SettingsError(f"{name} must have the same scheme in all its URLs")
    if len(urls) > 1 and not schemes <= {"amqp", "amqps"}:
        raise SettingsError(
            f"{name} can name several servers only if they are the nodes of a RabbitMQ: of a Redis "
            "give the one address that leads to its primary"
        )
    return ";".join(_complete(name, each) for each in urls)


def _complete(name: str, url: str) -> str:
    address, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if not set(options) <= set(_OPTIONS):
        raise SettingsError(f"{name} can have the options {', '.join(_OPTIONS)}, and no others")
    if urlsplit(url).scheme not in _ENCRYPTED:
        if options:
            raise SettingsError(
                f"{name} has options for TLS, which need a URL that begins with rediss:// or amqps://"
            )
        return url
    options.setdefault(_VERIFY, "required")
    if options[_VERIFY] not in _VERIFY_VALUES:
        raise SettingsError(f"{name} has an option {_VERIFY} that is not required or none")
    options[_VERIFY] = _VERIFY_VALUES[options[_VERIFY]]
    if options.setdefault(_CHECK_HOST, "true").lower() not in ("true", "false"):
        raise SettingsError(f"{name} has an option {_CHECK_HOST} that is not true or false")
    for option in _FILES:
        if option in options and not Path(options[option]).is_file():
            raise SettingsError(f"{name} has an option {option} that names no file")
    return f"{address}?{urlencode(options)}"
