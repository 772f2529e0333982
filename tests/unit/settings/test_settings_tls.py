"""TLS options of broker and cache URLs: complete, of one meaning, or refused in one line."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kombu
import pytest
import redis

from settings import SettingsError
from tests.unit.settings.test_settings import read

REDIS = "rediss://:hush@cache.example:6379/0"
RABBIT = "amqps://user:hush@one.example:5671//"


def options(url: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}


@pytest.mark.parametrize("url", [REDIS, RABBIT])
def test_an_encrypted_server_is_verified_unless_asked_otherwise(url: str) -> None:
    verified = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
    assert options(read(BROKER_URL=url).broker_url) == verified
    asked = read(BROKER_URL=f"{url}?ssl_cert_reqs=CERT_NONE&ssl_check_hostname=False").broker_url
    assert options(asked) == {"ssl_cert_reqs": "none", "ssl_check_hostname": "False"}
    assert options(read(CACHE_URL=f"{REDIS}?ssl_cert_reqs=none").cache_url)["ssl_cert_reqs"] == (
        "none"
    )


def test_a_url_without_tls_stays_as_it_is() -> None:
    for url in ("redis://:a%40b@broker:6379/0", "amqp://u:a%2fb@one:5672//;amqp://two:5672/a%2fb"):
        assert read(BROKER_URL=url).broker_url == url


def test_several_hosts_each_have_the_options() -> None:
    given = f"{RABBIT};amqps://user:hush@two.example:5671//?ssl_cert_reqs=none"
    one, two = read(BROKER_URL=given).broker_url.split(";")
    assert (options(one)["ssl_cert_reqs"], options(two)["ssl_cert_reqs"]) == ("required", "none")


@pytest.mark.parametrize(
    ("given", "verify"), [("required", ssl.CERT_REQUIRED), ("none", ssl.CERT_NONE)]
)
def test_both_libraries_read_the_same(given: str, verify: ssl.VerifyMode, tmp_path: Path) -> None:
    authority = tmp_path / "ca of ours.pem"
    authority.touch()
    url = read(
        BROKER_URL=f"{REDIS}?ssl_cert_reqs={given}&ssl_check_hostname=false&ssl_ca_certs={authority}"
    ).broker_url
    by_kombu = kombu.Connection(url).ssl
    by_redis: Any = redis.ConnectionPool.from_url(url).make_connection()
    assert by_kombu == {
        "ssl_cert_reqs": verify,
        "ssl_check_hostname": False,
        "ssl_ca_certs": str(authority),
    }
    found = (by_redis.cert_reqs, by_redis.check_hostname, by_redis.ca_certs)
    assert found == (verify, False, str(authority))


@pytest.mark.parametrize("name", ["BROKER_URL", "CACHE_URL"])
@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"{REDIS}?ssl_cert_reqs=optional", "has an option ssl_cert_reqs that is not"),
        (f"{REDIS}?ssl_cert_reqs=", "has an option ssl_cert_reqs that is not"),
        (f"{REDIS}?ssl_cert_reqs=None", "has an option ssl_cert_reqs that is not"),
        (f"{REDIS}?ssl_check_hostname=perhaps", "has an option ssl_check_hostname that is not"),
        (f"{REDIS}?ssl_ca_certs=/hush/ca.pem", "has an option ssl_ca_certs that names no file"),
        (f"{REDIS}?ssl_keyfile=", "has an option ssl_keyfile that names no file"),
        (f"{REDIS}?socket_timeout=60", "can have the options ssl_cert_reqs,"),
        (f"{REDIS}?hush", "can have the options ssl_cert_reqs,"),
        ("redis://:hush@h:6379/0?ssl_cert_reqs=required", "has options for TLS, which need"),
        ("redis://:hush@h:6379/0?max_connections=1", "can have the options ssl_cert_reqs,"),
        (f"{REDIS};redis://:hush@two:6379/0", "must have the same scheme in all"),
        (f"{REDIS};{REDIS}", "can name several servers only if they are the nodes of a RabbitMQ"),
        ("redis://one:6379/0;redis://:hush@two:6379/0", "can name several servers only if"),
        ("rediss://:12;hush@cache.example:6379/0", "has a ; that no further URL follows"),
        ("redis://:12;hush@cache.example:6379/0", "has a ; that no further URL follows"),
        ("rediss://:pa;hush@cache.example:6379/0", "cannot be read: .*; as %3B$"),
        (f"{REDIS};", "has a ; that no further URL follows"),
    ],
)
def test_what_cannot_have_one_meaning_is_refused_and_not_quoted(
    name: str, url: str, why: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{name} {why}") as caught:
        read(**{name: url})
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
