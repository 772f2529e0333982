"""Settings of Truepenny, read from the environment here and nowhere else.

parsing        one typed, checked value at a time
urls           checks of the URLs among them
tls            options for TLS in the URLs of broker and cache
secret_files   values from files: NAME_FILE in place of NAME
errors         the one error, whose message names the setting

Guarantees that a running process has a complete, checked configuration: a value that cannot be
used stops the start with one line that names the setting.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from settings.errors import SettingsError
from settings.parsing import Values
from settings.secret_files import read_secrets

__all__ = ["Settings", "SettingsError", "read_secrets"]

BINANCE_URLS: Final = ",".join(
    f"https://{name}.binance.com" for name in ("api", "api1", "api2", "api3", "api4")
)
FALLBACK_PRICES: Final = {
    "BTCUSDT": "60000",
    "ETHUSDT": "2500",
    "BNBUSDT": "600",
    "EURUSDT": "1.1",
}
"""Shown, and marked as static, until a first price has been received."""
BROKER_SCHEMES: Final = ("redis", "rediss", "amqp", "amqps")
_LEAST_HUNG_AFTER_S = 10.0
"""Heartbeats are late on a busy machine: a smaller value would cause endless restarts."""


@dataclass(frozen=True)
class Settings:
    """The configuration of one process. URLs carry secrets, so the repr hides them."""

    database_url: str
    migrations_database_url: str
    broker_url: str
    cache_url: str
    installation_id: str
    """Names everything of this installation on broker and cache."""
    intake_secrets: tuple[str, ...]
    """Authenticate what is buffered: the first signs, all are accepted."""
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
    client_rate_limit: str
    client_item_limit: str
    proxy_hops: int
    api_processes: int
    keep_alive_s: int
    binance_urls: tuple[str, ...]
    price_symbols: tuple[str, ...]
    fallback_prices: Mapping[str, str]
    price_jump_limit: Decimal
    keep_prices: bool
    sentry_dsn: str | None
    sentry_environment: str
    sentry_release: str | None
    sentry_traces_sample_rate: float

    @property
    def key_prefix(self) -> str:
        """The beginning of every key of ours on Redis: others may use the same server."""
        return f"truepenny:{self.installation_id}:"

    @property
    def ended_channel(self) -> str:
        """The channel of the cache on which workers say that transfers have ended."""
        return f"{self.key_prefix}ended"

    @property
    def queue_prefix(self) -> str:
        """The beginning of every queue and exchange of ours on RabbitMQ."""
        return f"truepenny.{self.installation_id}."

    def __repr__(self) -> str:
        return f"Settings(host={self.host!r}, port={self.port}, data_dir={str(self.data_dir)!r})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read and check all settings.

        Raises: SettingsError: when one is missing or malformed.
        """
        values = Values(read_secrets(os.environ if environment is None else environment))
        symbols = values.symbols("PRICE_SYMBOLS", ",".join(FALLBACK_PRICES))
        fallback_prices = FALLBACK_PRICES | values.prices("FALLBACK_PRICES")
        for symbol in symbols:
            if symbol not in fallback_prices:
                raise SettingsError(f"FALLBACK_PRICES has no price for {symbol} of PRICE_SYMBOLS")
        rate_limit = values.rate_limit("RATE_LIMIT", "10/minute")
        is_limited = rate_limit != "none"
        return cls(
            database_url=values.postgres_url("DATABASE_URL"),
            migrations_database_url=values.postgres_url("MIGRATIONS_DATABASE_URL", "DATABASE_URL"),
            broker_url=values.server_url("BROKER_URL", schemes=BROKER_SCHEMES),
            cache_url=values.server_url("CACHE_URL", schemes=("redis", "rediss")),
            installation_id=values.installation_id("INSTALLATION_ID"),
            intake_secrets=values.intake_secrets("INTAKE_SECRET"),
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
            rate_limit=rate_limit,
            client_rate_limit=values.rate_limit(
                "CLIENT_RATE_LIMIT", "600/minute" if is_limited else "none"
            ),
            client_item_limit=values.rate_limit(
                "CLIENT_ITEM_LIMIT", "60000/minute" if is_limited else "none"
            ),
            proxy_hops=values.whole_number("PROXY_HOPS", 0, at_least=0, at_most=10),
            api_processes=values.whole_number("API_PROCESSES", 2, at_least=1, at_most=64),
            keep_alive_s=values.whole_number("KEEP_ALIVE_S", 75, at_least=1, at_most=3600),
            binance_urls=values.web_urls("BINANCE_URLS", BINANCE_URLS),
            price_symbols=symbols,
            fallback_prices=fallback_prices,
            price_jump_limit=values.share("PRICE_JUMP_LIMIT", "0.1"),
            keep_prices=values.choice("KEEP_PRICES", "YES", ("YES", "NO")) == "YES",
            sentry_dsn=values.dsn("SENTRY_DSN"),
            sentry_environment=values.label("SENTRY_ENVIRONMENT") or "production",
            sentry_release=values.label("SENTRY_RELEASE"),
            sentry_traces_sample_rate=values.rate("SENTRY_TRACES_SAMPLE_RATE", "0.01"),
        )
