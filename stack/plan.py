"""The plan of `make up`, made before anything starts: folders, servers, settings, secrets.

A server whose URL is given is used as it is; for the others, servers of our own are planned.
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
    """The folders in DATA_DIR."""

    data: Path

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def run(self) -> Path:
        """The folder for files of the current run only."""
        return self.data / "run"

    @property
    def ready(self) -> Path:
        """A file that exists while servers are up and migrated; the application waits for it."""
        return self.run / "ready"

    @property
    def kept_values(self) -> KeptValues:
        return KeptValues(self.data / "secrets")

    def make(self, *, for_all: bool) -> None:
        """Make missing folders. `for_all` lets other users pass through, but not list the files.

        Raises: StackError: when the folder cannot be used, or belongs to another user.
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
    """The plan of one run.

    servers: servers of our own, to start. given: servers whose URLs are given, to use.
    generated: the settings whose values were generated here and are kept in files.
    environment: the environment of all programs. extras: programs beside the application.
    wants_demo: whether a demo client and its money are written into the database.
    """

    settings: Settings
    folders: Folders
    servers: tuple[Server, ...]
    given: tuple[GivenServer, ...]
    generated: frozenset[str]
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
    """Return the settings, with placeholders for the URLs of servers that we start ourselves.

    Raises: StackError: when one is malformed.
    """
    given = _given(environment)
    wants_demo(given)
    if fake_binance.wants_fake(given):
        given = fake_binance.with_url(given, port=1)  # the real port is chosen later
    try:
        return Settings.from_environment({**_NOWHERE, **given})
    except SettingsError as error:
        raise StackError(str(error)) from error


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the given settings: without blank ones, and with the contents of NAME_FILE files."""
    try:
        complete = read_secrets(environment)
    except SettingsError as error:
        raise StackError(str(error)) from error
    return {name: value for name, value in complete.items() if value.strip()}


def make_plan(environment: Mapping[str, str], folders: Folders, say: Callable[[str], None]) -> Plan:
    """Complete the environment with servers and secrets of our own, the same at every start.

    Raises: StackError: when a given value, or a file of an earlier run, cannot be used.
    """
    given = _given(environment)
    extras: tuple[Program, ...] = ()
    if fake_binance.wants_fake(given):
        port = fake_binance.choose_port(folders.kept_values)
        given = fake_binance.with_url(given, port)
        extras = (fake_binance.program(port, run=folders.run),)
    servers = _own_servers(given, folders, say)
    secrets = {
        name: folders.kept_values.read_or_make(secret_file(name), make)
        for name, make in _SECRETS.items()
        if name not in given
    }
    complete = {
        **given,
        **secrets,
        **{name: server.url for name, server in servers.items()},
        "DATA_DIR": str(folders.data),
    }
    settings = read_settings(complete)
    host = reachable(settings.host)
    # Where a browser finds Flower, as far as this machine knows.
    flower = f"http://{f'[{host}]' if ':' in host else host}:{settings.flower_port}"
    complete.setdefault("FLOWER_URL", flower)
    return Plan(
        settings=read_settings(complete),
        folders=folders,
        servers=tuple(servers.values()),
        given=tuple(given_servers(given)),
        generated=frozenset(secrets),
        environment=complete,
        wants_demo=wants_demo(given),
        extras=extras,
    )


def wants_demo(given: Mapping[str, str]) -> bool:
    """Return whether to make the demo. In a database that is given, only if DEMO is yes.

    Raises: StackError: when DEMO is neither yes nor no.
    """
    answer = given.get("DEMO", "no" if "DATABASE_URL" in given else "yes").strip().lower()
    if answer not in ("yes", "no"):
        raise StackError(f"DEMO must be yes or no, not {answer!r}")
    return answer == "yes"


def _own_servers(
    given: Mapping[str, str], folders: Folders, say: Callable[[str], None]
) -> dict[str, Server]:
    """Return our own servers for the URLs that are not given, by the name of the setting."""
    missing = [name for name in _NOWHERE if name not in given]
    if not missing:
        return {}
    available = Servers(find_home(folders.data, say), folders.kept_values)
    makers: dict[str, Callable[[], Server]] = {
        "DATABASE_URL": available.postgres,
        "BROKER_URL": available.broker,
        "CACHE_URL": available.cache,
    }
    return {name: makers[name]() for name in missing}


def secret_file(name: str) -> str:
    """Return the name of the file in DATA_DIR/secrets with the generated value of a setting."""
    return name.lower().replace("_", "-")
