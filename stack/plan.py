"""Everything that `make up` decides before it starts anything: folders, servers, settings.

Where a URL is given, the server behind it is used; for the rest servers of our own are planned.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe

from settings import Settings, SettingsError, read_secrets
from stack.demo import fake_binance
from stack.errors import StackError
from stack.processes.programs import Program, app_programs, server_programs
from stack.servers.external import GivenServer, given_servers
from stack.servers.home import find_home
from stack.servers.kept_values import KeptValues
from stack.servers.own import Servers
from stack.servers.ports import reachable
from stack.servers.server import Server

_NOWHERE = {
    "DATABASE_URL": "postgresql://nowhere",
    "BROKER_URL": "redis://nowhere",
    "CACHE_URL": "redis://nowhere",
}
_SECRETS: dict[str, Callable[[], str]] = {
    "ADMIN_API_KEY": lambda: f"tp_{token_urlsafe(32)}",
    "FLOWER_BASIC_AUTH": lambda: f"flower:{token_urlsafe(12)}",
}


@dataclass(frozen=True)
class Folders:
    """The parts of DATA_DIR."""

    data: Path

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def run(self) -> Path:
        """What concerns the current run only."""
        return self.data / "run"

    @property
    def ready(self) -> Path:
        """Exists while servers are up and migrated, which the application waits for."""
        return self.run / "ready"

    @property
    def keep(self) -> KeptValues:
        return KeptValues(self.data / "secrets")

    def make(self, *, for_all: bool) -> None:
        """Make what is missing. `for_all` lets other users pass through, but not look around.

        Raises: StackError: when the folder belongs to somebody else.
        """
        try:
            self.data.mkdir(mode=0o711 if for_all else 0o700, parents=True, exist_ok=True)
            for folder in (self.logs, self.run, self.data / "flower"):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StackError(f"DATA_DIR {self.data} cannot be used: {error.strerror}") from error
        if not os.access(self.run, os.W_OK | os.X_OK):
            raise StackError(f"DATA_DIR {self.data} belongs to another user, who ran this before")


@dataclass(frozen=True)
class Plan:
    """What will run: `environment` is what all programs are given.

    `servers` are ours to start, `given` are others' to use; `kept` names the settings whose
    values were made here and are kept in files, `made` those of them that were made just now;
    `extras` run beside the application.
    `wants_demo`: whether a demo client and its money are written into the database.
    """

    settings: Settings
    folders: Folders
    servers: tuple[Server, ...]
    given: tuple[GivenServer, ...]
    kept: frozenset[str]
    made: frozenset[str]
    environment: Mapping[str, str]
    wants_demo: bool
    extras: tuple[Program, ...] = ()

    @property
    def server_programs(self) -> list[Program]:
        return server_programs(self.servers, run=self.folders.run)

    @property
    def app_programs(self) -> list[Program]:
        app = app_programs(run=self.folders.run, ready=self.folders.ready)
        return [*app, *self.extras]


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings, but for the URLs of servers that we start ourselves.

    Raises: StackError: when one is malformed.
    """
    given = _given(environment)
    wants_demo(given)
    if fake_binance.wants_fake(given):
        given = fake_binance.with_url(given, port=1)  # which one is decided later
    try:
        return Settings.from_environment({**_NOWHERE, **given})
    except SettingsError as error:
        raise StackError(str(error)) from error


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    """What is in the environment, without blanks, and with what is in files in their place."""
    try:
        complete = read_secrets(environment)
    except SettingsError as error:
        raise StackError(str(error)) from error
    return {name: value for name, value in complete.items() if value.strip()}


def make_plan(environment: Mapping[str, str], folders: Folders, say: Callable[[str], None]) -> Plan:
    """Complete the environment with servers and secrets of our own, the same at every start.

    Raises: StackError: when a given value, or what an earlier run left, cannot be used.
    """
    given = _given(environment)
    extras: tuple[Program, ...] = ()
    if fake_binance.wants_fake(given):
        port = fake_binance.choose_port(folders.keep)
        given = fake_binance.with_url(given, port)
        extras = (fake_binance.program(port, run=folders.run),)
    servers = _own_servers(given, folders, say)
    missing = [name for name in _SECRETS if name not in given]
    made = [name for name in missing if folders.keep.read(secret_file(name)) is None]
    secrets = {
        name: folders.keep.read_or_make(secret_file(name), make)
        for name, make in _SECRETS.items()
        if name in missing
    }
    complete = {
        **given,
        **secrets,
        **{name: server.url for name, server in servers.items()},
        "DATA_DIR": str(folders.data),
    }
    complete.setdefault("FLOWER_URL", _flower_url(read_settings(complete)))
    return Plan(
        settings=read_settings(complete),
        folders=folders,
        servers=tuple(servers.values()),
        given=tuple(given_servers(given)),
        kept=frozenset(secrets),
        made=frozenset(made),
        environment=complete,
        wants_demo=wants_demo(given),
        extras=extras,
    )


def wants_demo(given: Mapping[str, str]) -> bool:
    """Whether to make the demo: into a database that was given, only when DEMO asks for it.

    Raises: StackError: when DEMO is neither yes nor no.
    """
    answer = given.get("DEMO", "no" if "DATABASE_URL" in given else "yes").strip().lower()
    if answer not in ("yes", "no"):
        raise StackError(f"DEMO must be yes or no, not {answer!r}")
    return answer == "yes"


def _flower_url(settings: Settings) -> str:
    """Where an operator's browser finds Flower, as far as this machine can tell."""
    host = reachable(settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.flower_port}"


def _own_servers(
    given: Mapping[str, str], folders: Folders, say: Callable[[str], None]
) -> dict[str, Server]:
    """The servers whose URLs are not given, by the settings that shall name them."""
    missing = [name for name in _NOWHERE if name not in given]
    if not missing:
        return {}
    available = Servers(find_home(folders.data, say), folders.keep)
    makers: dict[str, Callable[[], Server]] = {
        "DATABASE_URL": available.postgres,
        "BROKER_URL": available.broker,
        "CACHE_URL": available.cache,
    }
    return {name: makers[name]() for name in missing}


def secret_file(name: str) -> str:
    """The name of the file in DATA_DIR/secrets that keeps the generated value of a setting."""
    return name.lower().replace("_", "-")
