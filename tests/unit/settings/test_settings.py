"""Settings: complete and valid, or one line that names the problem."""

from __future__ import annotations

from pathlib import Path

import pytest
from limits import parse_many

from settings import Settings, SettingsError
from testing.identity import IDENTITY

URLS = {
    "DATABASE_URL": "postgresql://ledger:hush@localhost/truepenny",
    "BROKER_URL": "redis://:hush@localhost:6379/0",
    "CACHE_URL": "redis://:hush@localhost:6380/0",
}


def read(**given: str) -> Settings:
    return Settings.from_environment({**IDENTITY, **URLS, **given})


def test_the_three_addresses_are_enough() -> None:
    settings = read()
    assert (settings.host, settings.port, settings.flower_port) == ("127.0.0.1", 8000, 5555)
    assert (settings.stuck_after_s, settings.log_level) == (10.0, "INFO")
    assert settings.hung_after_s == 30.0
    assert settings.reconcile_every_s == 300.0
    assert (settings.rate_limit, settings.proxy_hops) == ("10/minute", 0)
    assert (settings.client_rate_limit, settings.client_item_limit) == (
        "600/minute",
        "60000/minute",
    )
    assert settings.api_processes == 2
    assert settings.admin_api_key is None
    assert settings.data_dir == Path(".data").absolute()


def test_without_a_limit_of_addresses_clients_have_none_unless_it_is_given() -> None:
    settings = read(RATE_LIMIT="None", CLIENT_ITEM_LIMIT="5/minute")
    assert (settings.client_rate_limit, settings.client_item_limit) == ("none", "5/minute")


@pytest.mark.parametrize("name", [*URLS, *IDENTITY])
@pytest.mark.parametrize("value", [None, "", "   "])
def test_an_address_that_is_missing_is_named(name: str, value: str | None) -> None:
    given = {**IDENTITY, **URLS, name: value or ""}
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
        ("RECONCILE_EVERY_S", "0"),
        ("HUNG_AFTER_S", "9.9"),
        ("HUNG_AFTER_S", "1"),
        ("HUNG_AFTER_S", "nan"),
        ("LOG_LEVEL", "LOUD"),
        ("RATE_LIMIT", "10"),
        ("RATE_LIMIT", "0/minute"),
        ("RATE_LIMIT", "-1/minute"),
        ("RATE_LIMIT", "10/fortnight"),
        ("RATE_LIMIT", "10/minute;100/hour"),
        ("RATE_LIMIT", "9999999999/minute"),
        ("RATE_LIMIT", "10/0 minutes"),
        ("RATE_LIMIT", "10/year"),
        ("RATE_LIMIT", "off"),
        ("CLIENT_RATE_LIMIT", "600"),
        ("CLIENT_ITEM_LIMIT", "0/minute"),
        ("PROXY_HOPS", "-1"),
        ("PROXY_HOPS", "11"),
        ("PROXY_HOPS", "one"),
        ("PROXY_HOPS", "\u00b2"),
        ("API_PROCESSES", "0"),
        ("API_PROCESSES", "65"),
        ("KEEP_ALIVE_S", "0"),
        ("KEEP_ALIVE_S", "75.5"),
        ("KEEP_ALIVE_S", "3601"),
        ("INSTALLATION_ID", "Bank"),
        ("INSTALLATION_ID", "-bank"),
        ("INSTALLATION_ID", "bank-"),
        ("INSTALLATION_ID", "a bank"),
        ("INSTALLATION_ID", "bank.one"),
        ("INSTALLATION_ID", 41 * "b"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        read(**{name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://user:hush@localhost:54x2/truepenny"),
        ("DATABASE_URL", "postgresql://user:hush@one:5432,two:99999/truepenny"),
        ("DATABASE_URL", "postgresql://user:hu@sh@localhost/truepenny"),
        ("DATABASE_URL", "postgresql://user:hu/sh@localhost/truepenny"),
        ("DATABASE_URL", "postgresql://user:hu#sh@localhost/truepenny"),
        ("DATABASE_URL", "postgresql://user:hush@[::1/truepenny"),
        ("BROKER_URL", "redis://:hush@localhost:port/0"),
        ("BROKER_URL", "redis://:hush@localhost:6379/hush"),
        ("BROKER_URL", "amqp://user:hush@localhost:65536//"),
        ("BROKER_URL", "amqp://user:hush@one:5672;amqp://user:hush@two:x"),
        ("CACHE_URL", "redis://:hush@[localhost]:6379/0"),
        ("CACHE_URL", "rediss://:hush@localhost:6379/0/hush"),
    ],
)
def test_a_url_that_cannot_be_read_is_named_and_not_quoted(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} cannot be read: ") as caught:
        read(**{name: value})
    assert "hu" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


@pytest.mark.parametrize("name", ["DATABASE_URL", "MIGRATIONS_DATABASE_URL"])
def test_several_hosts_of_the_database_are_not_several_urls(name: str) -> None:
    url = "postgresql://user:hush@one/truepenny;postgresql://user:hush@two/truepenny"
    with pytest.raises(SettingsError, match=f"^{name} has a ;: .* separated by commas$") as caught:
        read(**{name: url})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://localhost/truepenny"),
        ("DATABASE_URL", "postgresql://u:a%40b@one:5432,[::1]:5433,two/truepenny?sslmode=require"),
        ("DATABASE_URL", "postgresql:///truepenny?host=/run/postgresql"),
        ("BROKER_URL", "redis://[::1]:6379"),
        ("BROKER_URL", "redis://localhost/"),
        ("BROKER_URL", "amqp://u:a%2fb@one:5672//;amqp://two:5672/a%2fb"),
        ("DATABASE_URL", "postgresql+psycopg2://localhost/truepenny"),
        ("BROKER_URL", "amqp://localhost"),
        ("STUCK_AFTER_S", "0.5"),
        ("HUNG_AFTER_S", "10.0"),
        ("PORT", "65535"),
        ("LOG_LEVEL", "debug"),
        ("RATE_LIMIT", "none"),
        ("PROXY_HOPS", "10"),
        ("API_PROCESSES", "1"),
        ("API_PROCESSES", "64"),
        ("KEEP_ALIVE_S", "3600"),
        ("INSTALLATION_ID", "b"),
        ("INSTALLATION_ID", "bank-1"),
        ("INSTALLATION_ID", 40 * "b"),
    ],
)
def test_a_usable_value_is_accepted(name: str, value: str) -> None:
    assert str(getattr(read(**{name: value}), name.lower())).lower() == value


@pytest.mark.parametrize(
    ("value", "amount", "window_s"),
    [
        ("10/minute", 10, 60),
        ("1000/Minute", 1000, 60),
        ("5 per second", 5, 1),
        ("1/30 minutes", 1, 1800),
        ("999999999/day", 999_999_999, 86_400),
        ("1 per 999 days", 1, 999 * 86_400),
    ],
)
def test_an_accepted_rate_limit_can_be_parsed(value: str, amount: int, window_s: int) -> None:
    [limit] = parse_many(read(RATE_LIMIT=value).rate_limit)
    assert (limit.amount, limit.get_expiry()) == (amount, window_s)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ADMIN_API_KEY", "hush hush"),
        ("ADMIN_API_KEY", "h\u00fcsh-hush"),
        ("ADMIN_API_KEY", "hush\x7f"),
        ("ADMIN_API_KEY", 64 * "hush" + "!"),
        ("FLOWER_BASIC_AUTH", "hush"),
        ("FLOWER_URL", "https://user:hush@flower.example"),
        ("FLOWER_URL", "flower.example"),
        ("FLOWER_URL", "javascript:alert(1)"),
        ("FLOWER_URL", "https://flower.example/?key=hush"),
        ("FLOWER_BASIC_AUTH", ":hush"),
        ("FLOWER_BASIC_AUTH", "hush:"),
        ("FLOWER_BASIC_AUTH", "name:hush,hush"),
        ("INTAKE_SECRET", "hush"),
        ("INTAKE_SECRET", 8 * "hush"),
        ("INTAKE_SECRET", "hush" + "0123456789abcdef0123456789a"),
        ("INTAKE_SECRET", "hush 0123456789abcdef0123456789abcdef"),
        ("INTAKE_SECRET", "h\u00fcsh0123456789abcdef0123456789abcdef"),
        ("INTAKE_SECRET", "0123456789abcdef0123456789abcdef,hush"),
        ("INTAKE_SECRET", ",".join(f"hush-{n}-0123456789abcdef0123456789" for n in range(6))),
    ],
)
def test_an_unusable_secret_is_named_and_not_quoted(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} must be ") as caught:
        read(**{name: value})
    assert "hush" not in str(caught.value)


def test_a_usable_secret_is_accepted() -> None:
    settings = read(ADMIN_API_KEY=64 * "!a~Z", FLOWER_BASIC_AUTH="one:a:b,two:c d")
    assert settings.admin_api_key == 64 * "!a~Z"
    assert settings.flower_basic_auth == "one:a:b,two:c d"


def test_what_all_processes_share_is_missed_with_the_way_to_make_it() -> None:
    for name in IDENTITY:
        with pytest.raises(SettingsError, match=f"^{name} is not set: .*openssl rand") as caught:
            Settings.from_environment({**IDENTITY, **URLS, name: ""})
        assert "\n" not in str(caught.value)


def test_several_intake_secrets_keep_their_order() -> None:
    new, old = "new-0123456789abcdef0123456789ab", "old-0123456789abcdef0123456789ab"
    assert read(INTAKE_SECRET=new).intake_secrets == (new,)
    assert read(INTAKE_SECRET=f"{new}, {old},").intake_secrets == (new, old)


def test_an_empty_value_counts_as_not_given() -> None:
    assert read(PORT="", ADMIN_API_KEY=" ", HOST="") == read()


def test_no_secret_shows_in_the_repr_or_in_an_error() -> None:
    secret = "hush-0123456789abcdef0123456789abcdef"
    settings = read(ADMIN_API_KEY="hush", FLOWER_BASIC_AUTH="user:hush", INTAKE_SECRET=secret)
    assert "hush" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        read(BROKER_URL="memory://user:hush@localhost")
    assert "hush" not in str(caught.value)
