"""Settings: complete and checked, or one line that names what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings import Settings, SettingsError

URLS = {
    "DATABASE_URL": "postgresql://ledger:hush@localhost/truepenny",
    "BROKER_URL": "redis://:hush@localhost:6379/0",
    "CACHE_URL": "redis://:hush@localhost:6380/0",
}


def read(**given: str) -> Settings:
    return Settings.from_environment({**URLS, **given})


def test_the_three_addresses_are_enough() -> None:
    settings = read()
    assert (settings.host, settings.port, settings.flower_port) == ("127.0.0.1", 8000, 5555)
    assert (settings.stuck_after_s, settings.log_level) == (10.0, "INFO")
    assert settings.hung_after_s == 30.0
    assert settings.admin_api_key is None
    assert settings.data_dir == Path(".data").absolute()


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize("value", [None, "", "   "])
def test_an_address_that_is_missing_is_named(name: str, value: str | None) -> None:
    given = {**URLS, name: value or ""} if value is not None else {**URLS}
    if value is None:
        del given[name]
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        Settings.from_environment(given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://localhost/truepenny"),
        ("DATABASE_URL", "sqlite:///truepenny.db"),
        ("DATABASE_URL", "localhost"),
        ("BROKER_URL", "memory://"),
        ("BROKER_URL", "http://localhost"),
        ("CACHE_URL", "amqp://localhost"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "80.0"),
        ("PORT", "\u0668\u0660"),
        ("PORT", "\u00b2"),
        ("PORT", "http"),
        ("FLOWER_PORT", "99999"),
        ("STUCK_AFTER_S", "0"),
        ("STUCK_AFTER_S", "-1"),
        ("STUCK_AFTER_S", "nan"),
        ("STUCK_AFTER_S", "inf"),
        ("STUCK_AFTER_S", "1e9"),
        ("STUCK_AFTER_S", "soon"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        read(**{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://localhost/truepenny"),
        ("DATABASE_URL", "postgresql+psycopg2://localhost/truepenny"),
        ("BROKER_URL", "amqp://localhost"),
        ("BROKER_URL", "amqps://localhost"),
        ("BROKER_URL", "rediss://localhost"),
        ("CACHE_URL", "rediss://localhost"),
        ("STUCK_AFTER_S", "0.5"),
        ("PORT", "65535"),
        ("LOG_LEVEL", "debug"),
    ],
)
def test_a_value_that_can_be_used_is_taken(name: str, value: str) -> None:
    assert str(getattr(read(**{name: value}), name.lower())).lower() == value


def test_an_empty_value_counts_as_not_given() -> None:
    assert read(PORT="", ADMIN_API_KEY=" ", HOST="") == read()


def test_no_secret_shows_in_the_repr_or_in_an_error() -> None:
    settings = read(ADMIN_API_KEY="hush", FLOWER_BASIC_AUTH="user:hush")
    assert "hush" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        read(BROKER_URL="memory://user:hush@localhost")
    assert "hush" not in str(caught.value)
