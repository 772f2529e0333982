"""Client address: the address that counts for rate limits."""

from __future__ import annotations

import pytest

from api.rate_limits.client_ip import UNKNOWN, counted_address


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:51234", "192.0.2.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:DB8:1:3::1", "2001:db8:1:3::/64"),
        ("[2001:db8:1:2::1]:443", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        (None, UNKNOWN),
        ("", UNKNOWN),
        ("unknown", UNKNOWN),
        ("_hidden", UNKNOWN),
        ("192.0.2", UNKNOWN),
        ("192.0.2.7.example", UNKNOWN),
        ("x" * 4_000, UNKNOWN),
    ],
)
def test_an_address_counts_by_the_part_its_owner_cannot_choose(
    given: str | None, counted: str
) -> None:
    assert counted_address(given) == counted
