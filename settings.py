"""Every setting of Truepenny, read from the environment here and nowhere else.

Guarantees that a running process holds either a complete, checked configuration or
none at all: a value that cannot be used stops the start with one line that names it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final, TypedDict

from addresses import is_dsn, is_page_url, is_server_url, is_web_url

# What the `limits` library reads, as far as it makes sense: one limit, not of zero.
_RATE_LIMIT = re.compile(
    r"[1-9]\d{0,8}\s*(?:/|per)\s*(?:[1-9]\d{0,2}\s*)?(?:second|minute|hour|day)s?",
    re.ASCII | re.IGNORECASE,
)
BINANCE_URLS: Final = ",".join(
    f"https://{name}.binance.com" for name in ("api", "api1", "api2", "api3", "api4")
)
FALLBACK_PRICES: Final = {
    "BTCUSDT": "60000",
    "ETHUSDT": "2500",
    "BNBUSDT": "600",
    "EURUSDT": "1.1",
}
"""What is shown, marked as static, where nothing better was ever heard."""
_LEAST_HUNG_AFTER_S = 10.0
"""Heartbeats come every second or so, but not from a busy machine: less would be a restart loop."""
_MAX_SYMBOLS = 50
_MAX_URLS = 10
_SYMBOL = re.compile(r"[A-Z0-9]{2,20}", re.ASCII)
_PRICE = re.compile(r"(?=.*[1-9])[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)
_API_KEY = re.compile(r"[!-~]{1,256}", re.ASCII)
_PASSWORD = re.compile(r"[^:]+:.+")
_SHARE = re.compile(r"[0-9]{1,2}(\.[0-9]{1,6})?", re.ASCII)
_LABEL = re.compile(r"[\w.@+-]{1,64}", re.ASCII)

_SECRETS: Final = (
    "DATABASE_URL",
    "BROKER_URL",
    "CACHE_URL",
    "ADMIN_API_KEY",
    "FLOWER_BASIC_AUTH",
    "SENTRY_DSN",
)
"""What may also be given as a file: its name then is in NAME_FILE, as containers do it."""
_MAX_SECRET_BYTES: Final = 8192


class SettingsError(ValueError):
    """A setting is missing or cannot be used; the message names it."""


@dataclass(frozen=True)
class Settings:
    """The configuration of one process. URLs carry secrets, so the repr hides them."""

    database_url: str
    broker_url: str
    cache_url: str
    host: str
    port: int
    admin_api_key: str | None
    stuck_after_s: float
    hung_after_s: float
    reconcile_every_s: float
    intake_buffer_limit: int
    data_dir: Path
    flower_port: int
    flower_basic_auth: str | None
    flower_url: str | None
    metrics_port: int | None
    log_level: str
    rate_limit: str
    proxy_hops: int
    api_processes: int
    binance_urls: tuple[str, ...]
    price_symbols: tuple[str, ...]
    fallback_prices: Mapping[str, str]
    price_jump_limit: Decimal
    keep_prices: bool
    sentry_dsn: str | None
    sentry_environment: str
    sentry_release: str | None
    sentry_traces_sample_rate: float

    def __repr__(self) -> str:
        return f"Settings(host={self.host!r}, port={self.port}, data_dir={str(self.data_dir)!r})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read and check all settings.

        Raises: SettingsError: when one is missing or malformed.
        """
        values = _Values(read_secrets(os.environ if environment is None else environment))
        return cls(
            database_url=values.url("DATABASE_URL", schemes=("postgresql", "postgres")),
            broker_url=values.url("BROKER_URL", schemes=("redis", "rediss", "amqp", "amqps")),
            cache_url=values.url("CACHE_URL", schemes=("redis", "rediss")),
            host=values.text("HOST", "127.0.0.1"),
            port=values.port("PORT", 8000),
            admin_api_key=values.api_key("ADMIN_API_KEY"),
            stuck_after_s=values.positive("STUCK_AFTER_S", 10.0),
            hung_after_s=values.positive("HUNG_AFTER_S", 30.0, at_least=_LEAST_HUNG_AFTER_S),
            reconcile_every_s=values.positive("RECONCILE_EVERY_S", 300.0),
            intake_buffer_limit=values.whole_number(
                "INTAKE_BUFFER_LIMIT", 200_000, at_least=1, at_most=10_000_000
            ),
            data_dir=Path(values.text("DATA_DIR", ".data")).absolute(),
            flower_port=values.port("FLOWER_PORT", 5555),
            flower_basic_auth=values.passwords("FLOWER_BASIC_AUTH"),
            flower_url=values.page_url("FLOWER_URL"),
            metrics_port=values.optional_port("METRICS_PORT"),
            log_level=values.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
            rate_limit=values.rate_limit("RATE_LIMIT", "10/minute"),
            proxy_hops=values.whole_number("PROXY_HOPS", 0, at_least=0, at_most=10),
            api_processes=values.whole_number("API_PROCESSES", 2, at_least=1, at_most=64),
            **_price_settings(values),
            sentry_dsn=values.dsn("SENTRY_DSN"),
            sentry_environment=values.label("SENTRY_ENVIRONMENT") or "production",
            sentry_release=values.label("SENTRY_RELEASE"),
            sentry_traces_sample_rate=values.rate("SENTRY_TRACES_SAMPLE_RATE", "0.01"),
        )


def read_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the content of each NAME_FILE in the place of that.

    Raises: SettingsError: when a file cannot be used; nothing of its content is in the message.
    """
    complete = dict(environment)
    for name in _SECRETS:
        file = complete.pop(f"{name}_FILE", "").strip()
        if not file:
            continue
        if complete.get(name, "").strip():
            raise SettingsError(f"{name} and {name}_FILE are both set: give one of them")
        complete[name] = _read_secret(f"{name}_FILE", Path(file))
    return complete


def _read_secret(name: str, file: Path) -> str:
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for, maybe for ever
            raise SettingsError(f"{name}: {file} is no file")
        with file.open("rb") as opened:
            content = opened.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{name}: {file} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_SECRET_BYTES:
        raise SettingsError(f"{name}: {file} is larger than {_MAX_SECRET_BYTES} bytes")
    # Of one that is no text, not even the error's cause is kept: it has the content in it.
    text = content.decode(errors="replace").removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise SettingsError(f"{name}: {file} is empty")
    if not text.isprintable() or "\N{REPLACEMENT CHARACTER}" in text:
        raise SettingsError(f"{name}: {file} must be one line of text")
    return text


class _PriceSettings(TypedDict):
    binance_urls: tuple[str, ...]
    price_symbols: tuple[str, ...]
    fallback_prices: Mapping[str, str]
    price_jump_limit: Decimal
    keep_prices: bool


def _price_settings(values: _Values) -> _PriceSettings:
    """Read what concerns prices. Every symbol has a fallback, so every question an answer."""
    symbols = values.symbols("PRICE_SYMBOLS", ",".join(FALLBACK_PRICES))
    fallback_prices = FALLBACK_PRICES | values.prices("FALLBACK_PRICES")
    for symbol in symbols:
        if symbol not in fallback_prices:
            raise SettingsError(f"FALLBACK_PRICES has no price for {symbol} of PRICE_SYMBOLS")
    return _PriceSettings(
        binance_urls=values.web_urls("BINANCE_URLS", BINANCE_URLS),
        price_symbols=symbols,
        fallback_prices=fallback_prices,
        price_jump_limit=values.share("PRICE_JUMP_LIMIT", "0.1"),
        keep_prices=values.choice("KEEP_PRICES", "YES", ("YES", "NO")) == "YES",
    )


class _Values:
    """Typed look-ups in an environment; an empty value counts as not given."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def optional(self, name: str) -> str | None:
        return self._environment.get(name, "").strip() or None

    def text(self, name: str, default: str) -> str:
        return self.optional(name) or default

    def url(self, name: str, *, schemes: tuple[str, ...]) -> str:
        value = self.optional(name)
        if value is None:
            raise SettingsError(f"{name} is not set")
        if value.partition(":")[0].partition("+")[0].lower() not in schemes:
            raise SettingsError(f"{name} must start with one of: {', '.join(schemes)}")
        if not all(map(is_server_url, value.split(";"))):
            # Not shown, nor why: what is wrong may well be the password.
            raise SettingsError(
                f"{name} cannot be read: its host, port or path is malformed, or its password has "
                "a character that a URL writes as %40 or the like"
            )
        return value

    def api_key(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not _API_KEY.fullmatch(value):
            raise SettingsError(f"{name} must be 1 to 256 printable ASCII characters, no blanks")
        return value

    def passwords(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not all(map(_PASSWORD.fullmatch, value.split(","))):
            raise SettingsError(f"{name} must be name:password, or several, comma-separated")
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
            raise SettingsError(f"{name} must be none, or such as 10/minute, not {value!r}")
        return value

    def positive(self, name: str, default: float, *, at_least: float = 0.0) -> float:
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not (0 < number < 86_400 and number >= at_least):
            bound = f"from {at_least:g} on" if at_least else "above 0"
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
            # Not shown: one may hold a password, which is one way to be wrong here.
            raise SettingsError(
                f"{name} must be 1 to {_MAX_URLS} URLs such as https://host:port, comma-separated"
            )
        return urls

    def page_url(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not is_page_url(value):
            # Not shown: one may hold a password, which everybody who sees the page would read.
            raise SettingsError(f"{name} must be a URL such as https://host:port/path")
        return value

    def symbols(self, name: str, default: str) -> tuple[str, ...]:
        symbols = _items(self.text(name, default))
        for symbol in symbols:
            if not _SYMBOL.fullmatch(symbol):
                raise SettingsError(f"{name} must be symbols such as BTCUSDT, not {symbol!r}")
        if not 0 < len(symbols) <= _MAX_SYMBOLS:
            raise SettingsError(f"{name} must name 1 to {_MAX_SYMBOLS} symbols")
        return symbols

    def prices(self, name: str) -> dict[str, str]:
        try:
            prices = json.loads(self.text(name, "{}"))
        except (ValueError, RecursionError):
            prices = None
        if not isinstance(prices, dict):
            raise SettingsError(f'{name} must be a JSON object such as {{"BTCUSDT": "60000"}}')
        for symbol, price in prices.items():
            if not _SYMBOL.fullmatch(symbol):
                raise SettingsError(f"{name} must be by symbols such as BTCUSDT, not {symbol!r}")
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
            # Not shown: whoever has it can send us any error they like.
            raise SettingsError(f"{name} must be such as https://KEY@HOST/PROJECT")
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
    """The parts of a comma-separated list, each once, without blanks and empty ones."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
