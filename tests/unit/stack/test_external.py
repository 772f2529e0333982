"""External servers: what is shown of their addresses."""

from __future__ import annotations

import pytest

from stack.servers.external import shown_address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ledger:hidden@db:5432/money?sslpassword=hidden", "db:5432/money"),
        ("postgresql://ledger:hidden@one:5432,two:5433/money", "one:5432,two:5433/money"),
        ("postgresql://ledger:hidden@%2Frun%2Fpostgresql/money", "%2Frun%2Fpostgresql/money"),
        ("postgresql:///money?host=/run/postgresql&password=hidden", "/money"),
        ("redis://:hid%40den@cache/0", "cache/0"),
        ("redis://:12;hidden@cache/0", "cache/0"),
        ("amqp://one:hidden@first//;amqp://two:hidden@second/money", "first, second/money"),
        ("amqp://one:hidden@first;two:hidden@second", "second"),
    ],
)
def test_of_an_address_hosts_ports_and_path_are_shown_and_no_password(url: str, shown: str) -> None:
    assert shown_address(url) == shown
