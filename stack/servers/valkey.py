"""Our own Valkeys, one as broker and one as cache.

The broker refuses what does not fit into its memory, and writes each command to disk before it
answers. The cache evicts what was used least, and writes nothing to disk.
"""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path

from stack.servers.home import Home
from stack.servers.ports import LOOPBACK

_TIMEOUT_S = 3
_ALWAYS = """\
# Written by the stack at every start.
bind {host}
port {port}
requirepass {password}
dir "{folder}"
daemonize no
save ""
"""
BROKER_ROLE = """\
maxmemory 512mb
maxmemory-policy noeviction
appendonly yes
appendfsync always
"""
CACHE_ROLE = """\
maxmemory 64mb
maxmemory-policy allkeys-lru
appendonly no
"""


@dataclass(frozen=True)
class Valkey:
    """One server in one role."""

    name: str
    role: str
    home: Home
    port: int
    password: str = field(repr=False)
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def command(self) -> tuple[str, ...]:
        return (str(self.home.valkey_binary), str(self._configuration))

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def prepare(self) -> None:
        """Make the folder if it is missing, and write the configuration."""
        common = _ALWAYS.format(
            host=LOOPBACK,
            port=self.port,
            password=self.password,
            folder=self.home.own_folder(self.name),
        )
        self.home.write_configuration(self._configuration.name, common + self.role)

    def probe(self) -> None:
        """Ping, without a client: loading one would cost `make up` 17 MB as long as it runs.

        Raises: ConnectionError: when the server does not answer, or still loads its data.
        """
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=_TIMEOUT_S) as link:
                link.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answers = link.makefile("rb")
                answer = answers.readline() + answers.readline()
        except OSError as error:
            raise ConnectionError(str(error)) from error
        if answer != b"+OK\r\n+PONG\r\n":
            raise ConnectionError(f"it answers {answer!r}")

    @property
    def _configuration(self) -> Path:
        return self.home.data / f"{self.name}.conf"
