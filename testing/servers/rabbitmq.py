"""RabbitMQ server for tests, from the system's package: on loopback, with little memory.

It shares nothing with a RabbitMQ that the system may run: neither ports nor data. The daemon
through which Erlang nodes find each other is a child of it, so nothing stays after a kill.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import amqp

from stack.servers.home import Home
from stack.servers.ports import LOOPBACK
from stack.servers.server import launch_command
from testing.programs import RABBITMQ

_USER = "truepenny"
_TIMEOUT_S = 3
_PATIENCE_S = 20
"""RabbitMQ itself waits five seconds for a queue's leader before it deletes a queue without one."""
_CHANNEL = ("connection", "consumer_count")
_WATERMARK = "256MiB"

_CONFIGURATION = """\
listeners.tcp.1 = {host}:{port}
default_user = {user}
default_pass = {password}
vm_memory_high_watermark.absolute = {watermark}
vm_memory_calculation_strategy = allocated
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 16000000
log.console = true
log.console.level = warning
log.file = false
"""
_START = """\
{environment}
# A child, and killed with the node: the one that Erlang would start is a daemon, and stays.
setpriv --pdeathsig KILL epmd &
until epmd -names >/dev/null 2>&1; do sleep 0.05; done
exec {server}
"""


@dataclass(frozen=True)
class RabbitMQ:
    """One node. Its data stays until its folder is deleted."""

    home: Home
    port: int
    epmd_port: int
    distribution_port: int
    password: str = field(repr=False)
    name: str = "rabbitmq"
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def command(self) -> tuple[str, ...]:
        return ("/bin/sh", "-e", str(self._file("sh")))

    @property
    def url(self) -> str:
        return f"amqp://{_USER}:{self.password}@{LOOPBACK}:{self.port}//"

    def prepare(self) -> None:
        """Make the folder if there is none, and write the configuration.

        Raises: MissingProgram: when RabbitMQ is not installed.
        """
        server = RABBITMQ.path()
        self.home.own_folder(self.name)
        configuration = _CONFIGURATION.format(
            host=LOOPBACK,
            port=self.port,
            user=_USER,
            password=self.password,
            watermark=_WATERMARK,
        )
        self.home.write_configuration(self._file("conf").name, configuration)
        self.home.write_configuration(self._file("plugins").name, "[].\n")
        start = _START.format(
            environment="\n".join(f"export {shlex.join([line])}" for line in self._environment()),
            server=server,
        )
        self.home.write_configuration(self._file("sh").name, start)

    def forget(self) -> None:
        """Delete all data of the node, which must not be running."""
        shutil.rmtree(self.home.data / self.name)

    def probe(self) -> None:
        """Log in.

        Raises: ConnectionError: when the server does not answer or does not accept the login yet.
        """
        try:
            with self.connect():
                return
        except (OSError, amqp.AMQPError) as error:
            raise ConnectionError(str(error)) from error

    def connect(self) -> amqp.Connection:
        """Open a plain AMQP connection with time-outs; `with` closes it."""
        connection = amqp.Connection(
            f"{LOOPBACK}:{self.port}",
            userid=_USER,
            password=self.password,
            connect_timeout=_TIMEOUT_S,
            read_timeout=_PATIENCE_S,
            write_timeout=_TIMEOUT_S,
        )
        connection.connect()
        return connection

    def limit_memory(self, watermark: str | None = None) -> None:
        """Set the memory limit that raises the alarm; without an argument, the normal one."""
        self._control("set_vm_memory_high_watermark", "absolute", watermark or _WATERMARK)

    def names(self) -> set[str]:
        """Return the names of all queues and exchanges, without RabbitMQ's own."""
        kinds = ("list_queues", "list_exchanges")
        said = [self._control("-q", kind, "--no-table-headers", "name") for kind in kinds]
        names = {name for each in said for name in each.splitlines()}
        return {name for name in names if name and not name.startswith("amq.")}

    def unacknowledged(self) -> int:
        """Return how many messages consumers had taken and not acknowledged a moment ago."""
        counts = self._control("-q", "list_queues", "--no-table-headers", "messages_unacknowledged")
        return sum(map(int, counts.split()))

    def connections_without_consumer(self) -> set[str]:
        """Return the names of the connections whose channels only publish."""
        said = self._control("-q", "list_channels", "--no-table-headers", *_CHANNEL)
        channels = [line.split() for line in said.splitlines()]
        consuming = {name for name, consumers in channels if consumers != "0"}
        return {name for name, _ in channels} - consuming

    def close_connection(self, name: str) -> None:
        """Close a connection as an operator does."""
        self._control("close_connection", name, "closed by a test")

    def _control(self, *arguments: str) -> str:
        environment = dict(line.split("=", 1) for line in self._environment())
        command = (str(RABBITMQ.path().with_name("rabbitmqctl")), *arguments)
        user = () if self.home.account is None else ("--user", str(self.home.account.uid))
        return subprocess.run(
            launch_command(command, *user),
            env={"PATH": os.environ["PATH"], **environment},
            cwd="/",
            check=True,
            timeout=60,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def _environment(self) -> list[str]:
        folder = self.home.data / self.name
        only_here = f"-kernel inet_dist_use_interface {{{LOOPBACK.replace('.', ',')}}}"
        # Counts are refreshed five times a second instead of every five seconds.
        erlang = f"{only_here} -rabbit quorum_tick_interval 200 +S 2:2"
        return [
            f"HOME={folder}",
            f"ERL_EPMD_PORT={self.epmd_port}",
            f"ERL_EPMD_ADDRESS={LOOPBACK}",
            f"RABBITMQ_NODENAME=truepenny-{self.port}@localhost",
            f"RABBITMQ_DIST_PORT={self.distribution_port}",
            f"RABBITMQ_CONF_ENV_FILE={folder / 'none'}",  # the system's is for its own node
            f"RABBITMQ_CONFIG_FILE={self._file('conf')}",
            f"RABBITMQ_ENABLED_PLUGINS_FILE={self._file('plugins')}",
            f"RABBITMQ_MNESIA_BASE={folder / 'data'}",
            f"RABBITMQ_LOG_BASE={folder / 'log'}",
            f"RABBITMQ_GENERATED_CONFIG_DIR={folder / 'generated'}",
            f"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS={erlang}",
            "RUNNING_UNDER_SYSTEMD=true",  # so that no shell stays in between
        ]

    def _file(self, kind: str) -> Path:
        return self.home.data / f"{self.name}.{kind}"
