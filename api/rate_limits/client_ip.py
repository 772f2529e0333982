"""Client address: the network address that a request is counted by.

Guarantees that one subscriber is one address: an IPv6 host may choose among the 2^64 addresses
of its network, so the whole network counts as one. `api/app.py` decides which proxies are
trusted; this module takes the address that follows from that.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from flask import request

UNKNOWN = "unknown"
"""All addresses that cannot be parsed count as one, so that they make no new counters."""
_SUBSCRIBER_BITS = 64


def client_address() -> str:
    """Return the address that the current request is counted by."""
    return counted_address(request.remote_addr)


def counted_address(text: str | None) -> str:
    """Return an IPv4 address as it is, an IPv6 address as its /64, anything else as UNKNOWN.

    An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) counts as the IPv4 address. A port,
    which some proxies append, is dropped.
    """
    address = _parse(text or "")
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    network = IPv6Network((int(address), _SUBSCRIBER_BITS), strict=False)
    return str(network)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    # With a port it is `192.0.2.1:80` or `[2001:db8::1]:80`.
    is_bracketed = text.startswith("[")
    without_port = text[1:].partition("]")[0] if is_bracketed else text.rpartition(":")[0]
    for candidate in (text, without_port):
        try:
            return ip_address(candidate)
        except ValueError:
            continue
    return None
