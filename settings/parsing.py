"""Parsing of settings: one typed, checked value of the environment at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal

from settings.errors import SettingsError
from settings.tls import with_tls_options
from settings.urls import is_dsn, is_page_url, is_server_url, is_web_url

# The part of the syntax of `limits` that makes sense here: one limit, above zero.
_RATE_LIMIT = re.compile(
    r"[1-9]\d{0,8}\s*(?:/|per)\s*(?:[1-9]\d{0,2}\s*)?(?:second|minute|hour|day)s?",
    re.ASCII | re.IGNORECASE,
)
_MAX_SYMBOLS = 50
_MAX_URLS = 10
_PRICE = re.compile(r"(?=.*[1-9])[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_API_KEY = re.compile(r"[!-~]{1,256}", re.ASCII)
_PASSWORD = re.compile(r"[^:]+:.+")
_SHARE = re.compile(r"[0-9]{1,2}(\.[0-9]{1,6})?", re.ASCII)
_INSTALLATION_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)
_INTAKE_SECRET = re.compile(r"[!-~]{32,256}", re.ASCII)
_LEAST_DISTINCT_CHARACTERS = 8
"""32 random hexadecimal digits have fewer once in 10 million times; a typed pattern often has."""
_MAX_INTAKE_SECRETS = 5
_LABEL = re.compile(r"[\w.@+-]{1,64}", re.ASCII)


class Values:
    """Typed, checked values of an environment. An empty value counts as not set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def optional(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def text(self, name: str, default: str) -> str:
        return self.optional(name) or default

    def postgres_url(self, name: str, or_else: str | None = None) -> str:
        """Return the URL of this setting or, if it is not given, that of another."""
        given = name if or_else is None or self.optional(name) else or_else
        url = self.url(given, schemes=("postgresql", "postgres"))
        if ";" in url:
            raise SettingsError(
                f"{given} has a ;: in a password it must be escaped as %3B, and several hosts are "
                "separated by commas"
            )
        return url

    def url(self, name: str, *, schemes: tuple[str, ...]) -> str:
        value = self.optional(name)
        if value is None:
            raise SettingsError(f"{name} is not set")
        if value.partition(":")[0].partition("+")[0].lower() not in schemes:
            raise SettingsError(f"{name} must start with one of: {', '.join(schemes)}")
        if not all(map(is_server_url, value.split(";"))):
            # Neither the value nor the reason is shown: the fault may be in the password.
            raise SettingsError(
                f"{name} cannot be read: its host, port or path is malformed, or its password "
                "contains a character that must be escaped, such as @ as %40 and ; as %3B"
            )
        return value

    def server_url(self, name: str, *, schemes: tuple[str, ...]) -> str:
        """The URL of a broker or a cache, with complete options for TLS."""
        return with_tls_options(name, self.url(name, schemes=schemes))

    def api_key(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not _API_KEY.fullmatch(value):
            raise SettingsError(
                f"{name} must be 1 to 256 printable ASCII characters without spaces"
            )
        return value

    def installation_id(self, name: str) -> str:
        value = self.optional(name)
        if value is None:
            raise SettingsError(
                f"{name} is not set: make one with `openssl rand -hex 8`, and give the same to "
                "all processes of this installation"
            )
        if not _INSTALLATION_ID.fullmatch(value):
            raise SettingsError(
                f"{name} must be 1 to 40 of a-z, 0-9 and -, with no - at the ends, not {value!r}"
            )
        return value

    def intake_secrets(self, name: str) -> tuple[str, ...]:
        secrets = _items(self.text(name, ""))
        if not secrets:
            raise SettingsError(
                f"{name} is not set: make one with `openssl rand -hex 32`, and give the same to "
                "all processes of this installation"
            )
        for secret in secrets:
            is_random = len(set(secret)) >= _LEAST_DISTINCT_CHARACTERS
            if not (_INTAKE_SECRET.fullmatch(secret) and is_random):
                raise SettingsError(
                    f"{name} must be random: 32 to 256 printable ASCII characters without spaces, "
                    f"at least {_LEAST_DISTINCT_CHARACTERS} of them different; "
                    "make one with `openssl rand -hex 32`"
                )
        if len(secrets) > _MAX_INTAKE_SECRETS:
            raise SettingsError(f"{name} must be at most {_MAX_INTAKE_SECRETS} secrets")
        return secrets

    def passwords(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not all(map(_PASSWORD.fullmatch, value.split(","))):
            raise SettingsError(
                f"{name} must be name:password, or several of these, separated by commas"
            )
        return value

    def port(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if not (value.isascii() and value.isdigit() and 0 < int(value) < 65536):
            raise SettingsError(f"{name} must be a port from 1 to 65535, not {value!r}")
        return int(value)

    def optional_port(self, name: str) -> int | None:
        return None if self.optional(name) is None else self.port(name, 0)

    def whole_number(self, name: str, default: int, *, at_least: int, at_most: int) -> int:
        value = self.text(name, str(default))
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1
        if not at_least <= number <= at_most:
            raise SettingsError(f"{name} must be from {at_least} to {at_most}, not {value!r}")
        return number

    def rate_limit(self, name: str, default: str) -> str:
        value = self.text(name, default).lower()
        if value != "none" and not _RATE_LIMIT.fullmatch(value):
            raise SettingsError(f"{name} must be none or a rate such as 10/minute, not {value!r}")
        return value

    def positive(self, name: str, default: float, *, at_least: float = 0.0) -> float:
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not (0 < number < 86_400 and number >= at_least):
            bound = f"of at least {at_least:g}" if at_least else "above 0"
            raise SettingsError(f"{name} must be a number of seconds {bound}, not {value!r}")
        return number

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default).upper()
        if value not in allowed:
            raise SettingsError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def web_urls(self, name: str, default: str) -> tuple[str, ...]:
        given = _items(self.text(name, default))
        urls = tuple(dict.fromkeys(url.removesuffix("/") for url in given))
        if not (0 < len(urls) <= _MAX_URLS and all(map(is_web_url, urls))):
            # The value is not shown: a URL may contain a password, which is not allowed here.
            raise SettingsError(
                f"{name} must be 1 to {_MAX_URLS} URLs such as https://host:port, comma-separated"
            )
        return urls

    def page_url(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not is_page_url(value):
            # The value is not shown: it may contain a password, which the page would reveal.
            raise SettingsError(f"{name} must be a URL such as https://host:port/path")
        return value

    def symbols(self, name: str, default: str) -> tuple[str, ...]:
        text = self.text(name, default)
        if text.lower() == "none":
            return ()
        symbols = _items(text)
        for symbol in symbols:
            if not _is_symbol(symbol):
                raise SettingsError(f"{name} must be symbols such as BTCUSDT, not {symbol!r}")
        if not 0 < len(symbols) <= _MAX_SYMBOLS:
            raise SettingsError(f"{name} must be none, or name 1 to {_MAX_SYMBOLS} symbols")
        return symbols

    def prices(self, name: str) -> dict[str, str]:
        try:
            prices = json.loads(self.text(name, "{}"))
        except (ValueError, RecursionError):
            prices = None
        if not isinstance(prices, dict):
            raise SettingsError(f'{name} must be a JSON object such as {{"BTCUSDT": "60000"}}')
        for symbol, price in prices.items():
            if not _is_symbol(symbol):
                raise SettingsError(
                    f"{name} must have symbols such as BTCUSDT as its keys, not {symbol!r}"
                )
            if not (isinstance(price, str) and _PRICE.fullmatch(price)):
                raise SettingsError(
                    f'{name} of {symbol} must be a decimal string above 0 such as "1.1"'
                )
        return prices

    def share(self, name: str, default: str) -> Decimal:
        value = self.text(name, default)
        if not (_SHARE.fullmatch(value) and Decimal(value)):
            raise SettingsError(f"{name} must be a decimal above 0 such as 0.1, not {value!r}")
        return Decimal(value)

    def dsn(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not is_dsn(value):
            # The value is not shown: anyone who knows it can send events to our Sentry.
            raise SettingsError(f"{name} must be a DSN such as https://KEY@HOST/PROJECT")
        return value

    def label(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not _LABEL.fullmatch(value):
            raise SettingsError(f"{name} must be 1 to 64 of a-z, A-Z, 0-9 and _.@+-, not {value!r}")
        return value

    def rate(self, name: str, default: str) -> float:
        value = self.text(name, default)
        if not (_SHARE.fullmatch(value) and Decimal(value) <= 1):
            raise SettingsError(f"{name} must be a decimal from 0 to 1, not {value!r}")
        return float(value)


def _items(text: str) -> tuple[str, ...]:
    """Split a comma-separated list: each part once, without spaces around it, none empty."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _is_symbol(text: str) -> bool:
    """Whether Binance could use this as a symbol: any script's letters, but no small Latin ones."""
    return 2 <= len(text) <= 50 and all(
        each in "0123456789-._" or (each.isalpha() and not "a" <= each <= "z") for each in text
    )
