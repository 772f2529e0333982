"""Every setting of Truepenny, read from the environment here and nowhere else.

Guarantees that a running process holds either a complete, checked configuration or
none at all: a value that cannot be used stops the start with one line that names it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

# What the `limits` library reads, as far as it makes sense: one limit, not of zero.
_RATE_LIMIT = re.compile(
    r"[1-9]\d{0,8}\s*(?:/|per)\s*(?:[1-9]\d{0,2}\s*)?(?:second|minute|hour|day)s?",
    re.ASCII | re.IGNORECASE,
)


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
    intake_buffer_limit: int
    data_dir: Path
    flower_port: int
    flower_basic_auth: str | None
    log_level: str
    rate_limit: str
    proxy_hops: int
    api_processes: int

    def __repr__(self) -> str:
        return f"Settings(host={self.host!r}, port={self.port}, data_dir={str(self.data_dir)!r})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read and check all settings.

        Raises: SettingsError: when one is missing or malformed.
        """
        values = _Values(os.environ if environment is None else environment)
        return cls(
            database_url=values.url("DATABASE_URL", schemes=("postgresql", "postgres")),
            broker_url=values.url("BROKER_URL", schemes=("redis", "rediss", "amqp", "amqps")),
            cache_url=values.url("CACHE_URL", schemes=("redis", "rediss")),
            host=values.text("HOST", "127.0.0.1"),
            port=values.port("PORT", 8000),
            admin_api_key=values.optional("ADMIN_API_KEY"),
            stuck_after_s=values.positive("STUCK_AFTER_S", 10.0),
            hung_after_s=values.positive("HUNG_AFTER_S", 30.0),
            intake_buffer_limit=values.whole_number(
                "INTAKE_BUFFER_LIMIT", 200_000, at_least=1, at_most=10_000_000
            ),
            data_dir=Path(values.text("DATA_DIR", ".data")).absolute(),
            flower_port=values.port("FLOWER_PORT", 5555),
            flower_basic_auth=values.optional("FLOWER_BASIC_AUTH"),
            log_level=values.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
            rate_limit=values.rate_limit("RATE_LIMIT", "10/minute"),
            proxy_hops=values.whole_number("PROXY_HOPS", 0, at_least=0, at_most=10),
            api_processes=values.whole_number("API_PROCESSES", 2, at_least=1, at_most=64),
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
        if urlsplit(value).scheme.partition("+")[0] not in schemes:
            raise SettingsError(f"{name} must start with one of: {', '.join(schemes)}")
        return value

    def port(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if not (value.isascii() and value.isdigit() and 0 < int(value) < 65536):
            raise SettingsError(f"{name} must be a port from 1 to 65535, not {value!r}")
        return int(value)

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

    def positive(self, name: str, default: float) -> float:
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number < 86_400:
            raise SettingsError(f"{name} must be a number of seconds above 0, not {value!r}")
        return number

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default).upper()
        if value not in allowed:
            raise SettingsError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        return value
