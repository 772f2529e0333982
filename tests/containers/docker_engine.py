"""A Compose project on a real Docker engine: started, killed from outside, and removed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from testing.servers.shared import ROOT

_WITHIN_S = 300.0
_LOOK_EVERY_S = 0.1


class EngineError(AssertionError):
    """A command of the engine failed, or a condition was not true in time."""


def until(what: Callable[[], object], *, within_s: float, say: str) -> float:
    """Wait until `what` is true. Returns: the seconds taken. Raises: EngineError: if too long."""
    began_s = time.monotonic()
    while not what():
        if time.monotonic() - began_s > within_s:
            raise EngineError(f"{say}: not within {within_s:g} s")
        time.sleep(_LOOK_EVERY_S)
    return time.monotonic() - began_s


def compose_command() -> tuple[str, ...]:
    """Return the Compose command, in either form. Raises: EngineError: when there is none."""
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    if subprocess.run(
        ("docker", "compose", "version"), capture_output=True, check=False
    ).returncode:
        raise EngineError("there is neither docker-compose nor `docker compose`")
    return ("docker", "compose")


@dataclass(frozen=True)
class Project:
    """One project of docker-compose.yml, with its own environment."""

    name: str
    environment: Mapping[str, str]
    compose: tuple[str, ...]

    def run(self, *arguments: str) -> str:
        """Run a Compose command. Raises: EngineError: with its output when it fails."""
        command = (*self.compose, "--project-name", self.name, *arguments)
        return _run(command, environment={**os.environ, **self.environment})

    def make_secrets(self) -> None:
        _run(("sh", "deploy/secrets.sh", self.environment["SECRETS_DIR"]))

    def up(self) -> None:
        self.run("up", "--detach", "--no-build")

    def remove(self) -> None:
        """Stop and remove everything of the project, including its data."""
        self.run("down", "--volumes", "--remove-orphans", "--timeout", "20")

    def container(self, service: str) -> str:
        """Return the id of the service's only container."""
        found = self._ids("ps", "--all", "--filter", f"label=com.docker.compose.service={service}")
        if len(found) != 1:
            raise EngineError(f"{service} has {len(found)} containers")
        return found[0]

    def leftovers(self) -> list[str]:
        """Return the project's containers, networks and volumes that still exist."""
        lists = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
        return [id for arguments in lists for id in self._ids(*arguments)]

    def state(self, service: str) -> dict[str, Any]:
        """Return the container's state: Pid, StartedAt, Health, ExitCode and so on."""
        said = _run(("docker", "inspect", "--format", "{{json .State}}", self.container(service)))
        state: dict[str, Any] = json.loads(said)
        return state

    def is_healthy(self, service: str) -> bool:
        return bool(self.state(service).get("Health", {}).get("Status") == "healthy")

    def kill(self, service: str) -> int:
        """Kill the container's first process from outside, as the kernel would.

        Not with `docker kill`: that counts as stopped by hand, and the engine does not restart it.
        Returns: the id of the process.
        """
        process_id = int(self.state(service)["Pid"])
        os.kill(process_id, signal.SIGKILL)
        return process_id

    def start(self, *services: str) -> None:
        """Start existing containers, in no order and without waiting, as after a reboot."""
        _run(("docker", "start", *(self.container(service) for service in services)))

    def execute(self, service: str, *command: str, given: str = "") -> str:
        """Run a command inside the service's container. Returns: its output."""
        return _run(("docker", "exec", "--interactive", self.container(service), *command), given)

    def _ids(self, *arguments: str) -> list[str]:
        own = ("--filter", f"label=com.docker.compose.project={self.name}")
        return _run(("docker", *arguments, "--quiet", *own)).split()


def _run(
    command: tuple[str, ...], given: str = "", environment: Mapping[str, str] | None = None
) -> str:
    try:
        result = subprocess.run(
            command,
            input=given,
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(str(error)) from error
    if result.returncode != 0:
        raise EngineError(f"{' '.join(command)} failed: {(result.stderr or result.stdout).strip()}")
    return result.stdout
