"""Valkey configuration of both roles, tried with a real server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from stack.servers.home import Home
from stack.servers.own import Servers
from stack.servers.ports import LOOPBACK, free_port
from stack.servers.server import running
from stack.servers.valkey import Valkey
from tests.k8s.stacks import K8S, Stack, pod, stack
from tests.k8s.test_workloads import bytes_

PASSWORD = "throw-away"
INCLUDED = "/run/secrets/valkey/requirepass.conf"


@dataclass(frozen=True)
class AsConfigured(Valkey):
    """Start a Valkey with the file of a component; only folders and address are changed."""

    def prepare(self) -> None:
        secret = f"{self.name}-requirepass.conf"
        self.home.write_configuration(secret, f"requirepass {PASSWORD}\n")
        here = self.role.replace(INCLUDED, str(self.home.data / secret))
        here = here.replace("dir /data", f'dir "{self.home.own_folder(self.name)}"')
        assert here.count(str(self.home.data)) == 2
        address = f"bind {LOOPBACK}\nport {self.port}\n"
        self.home.write_configuration(f"{self.name}.conf", here + address)


def configuration(role: str) -> str:
    return (K8S / "components" / "valkey" / role / f"{role}.conf").read_text()


@pytest.fixture
def place(servers: Servers) -> Home:
    return servers.home


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (
            "broker",
            {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"},
        ),
        ("cache", {"maxmemory-policy": "allkeys-lru", "appendonly": "no", "save": ""}),
    ],
)
def test_a_server_accepts_the_file_and_behaves_as_its_role(
    role: str, expected: dict[str, str], place: Home, tmp_path: Path
) -> None:
    server = AsConfigured(f"k8s-{role}", configuration(role), place, free_port(), PASSWORD)
    with running(server, log=tmp_path / "valkey.log"):
        client = redis.Redis(host=LOOPBACK, port=server.port, password=PASSWORD)
        said = {name: client.config_get(name)[name] for name in expected}
        assert said == expected
        assert client.config_get("maxmemory")["maxmemory"] == str(maxmemory(role))
        client.close()
        stranger = redis.Redis(host=LOOPBACK, port=server.port)
        with pytest.raises(redis.AuthenticationError):
            stranger.ping()
        stranger.close()


def maxmemory(role: str) -> int:
    (line,) = [one for one in configuration(role).splitlines() if one.startswith("maxmemory ")]
    return int(line.removeprefix("maxmemory ").removesuffix("mb")) * 2**20


@pytest.mark.parametrize(("role", "times"), [("broker", 2.0), ("cache", 1.5)])
def test_the_container_may_use_more_than_what_is_kept(role: str, times: float) -> None:
    """A broker may need twice its memory while it rewrites its log, and must not be killed."""
    (container,) = pod(stack("dev").one("StatefulSet", f"truepenny-{role}"))["containers"]
    assert bytes_(container["resources"]["limits"]["memory"]) >= times * maxmemory(role)


def test_the_file_is_mounted_where_the_server_looks_for_it() -> None:
    each = stack("dev")
    for role in ("broker", "cache"):
        (container,) = pod(each.one("StatefulSet", f"truepenny-{role}"))["containers"]
        mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
        _server, path = container["command"]
        folder, _, name = path.rpartition("/")
        volumes = {
            one["name"]: one for one in pod(each.one("StatefulSet", f"truepenny-{role}"))["volumes"]
        }
        settings = each.one("ConfigMap", volumes[mounts[folder]]["configMap"]["name"])
        assert settings["data"][name] == configuration(role)
        paths = [
            one["path"] for one in volumes[mounts[INCLUDED.rpartition("/")[0]]]["secret"]["items"]
        ]
        assert INCLUDED.rpartition("/")[2] in paths
        assert "/data" in mounts


def test_what_the_broker_keeps_outlives_its_pod(each: Stack) -> None:
    for server in each.of_kind("StatefulSet"):
        claims = [one["metadata"]["name"] for one in server["spec"].get("volumeClaimTemplates", [])]
        is_cache = server["metadata"]["name"] == "truepenny-cache"
        assert claims == ([] if is_cache else ["data"])
