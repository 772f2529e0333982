"""Client address: the network address that a request is counted by.

Guarantees that one subscriber is one address: an IPv6 host may choose among 2^64 addresses
of its network, so the whole network counts as one. Which proxies to believe is decided in
`api/app.py`; this module takes the address that is left.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from flask import request

UNKNOWN = "unknown"
"""All whose address cannot be read count as one, so that nonsense makes no new counters."""
_SUBSCRIBER_BITS = 64


def client_address() -> str:
    """Return the address that the current request is counted by."""
    return counted_address(request.remote_addr)


def counted_address(text: str | None) -> str:
    """Return an IPv4 address as it is, an IPv6 address as its /64, anything else as UNKNOWN.

    An IPv4 address written as IPv6 (`::ffff:192.0.2.1`) counts as the IPv4 address. A port,
    which some proxies append, is dropped.
    """
    address = _address(text or "")
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    network = IPv6Network((int(address), _SUBSCRIBER_BITS), strict=False)
    return str(network)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    for candidate in (text, _without_port(text)):
        try:
            return ip_address(candidate)
        except ValueError:
            continue
    return None


def _without_port(text: str) -> str:
    """Return what stands before the port in `192.0.2.1:80` and in `[2001:db8::1]:80`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0]
