"""TCP ports: checks whether a port is free, and finds a free one."""

from __future__ import annotations

import errno
import random
import socket

LOOPBACK = "127.0.0.1"
_EVERYWHERE = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - addresses to listen, not to call
# Below the ports that the kernel uses for outgoing connections (from 32768): such a connection
# could take a server's port while the server restarts.
_OURS = range(20_000, 32_000)


def reachable(host: str) -> str:
    """Return the address on this machine of a server that listens at `host`."""
    return _EVERYWHERE.get(host, host)


def is_free(host: str, port: int) -> bool:
    """Return whether a server could listen there now. A port in TIME_WAIT counts as free.

    Raises: OSError: when `host` is not an address of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def free_port() -> int:
    """Return a random free loopback port, so that stacks started together rarely collide."""
    for port in random.sample(_OURS, len(_OURS)):
        if is_free(LOOPBACK, port):
            return port
    raise OSError(errno.EADDRINUSE, f"no free port from {_OURS.start} to {_OURS.stop - 1}")
