"""Settings and secrets: only settings that are read, and secrets only in Secrets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from settings import Settings
from testing.servers.shared import ROOT
from tests.k8s.composition import Object
from tests.k8s.stacks import K8S, ROLES, Stack, containers, pod, role_of, stack

SECRETS = {
    # The mount path, and the Secret and key behind it.
    "installation-id": {("truepenny-installation", "id")},
    "intake-secret": {("truepenny-installation", "intake-secret")},
    "database-url": {("truepenny-database", "url")},
    "migrations-database-url": {
        ("truepenny-database-owner", "url"),
        ("truepenny-database-app", "uri"),
    },
    "broker-url": {("truepenny-broker", "url")},
    "cache-url": {("truepenny-cache", "url")},
    "admin-api-key": {("truepenny-admin", "api-key")},
    "flower-basic-auth": {("truepenny-flower", "basic-auth")},
    "sentry-dsn": {("truepenny-sentry", "dsn")},
}
ADMIN_KEY_IS_FOR = {"migrations"}
FLOWER_PASSWORD_IS_FOR = {"flower"}


def names_that_settings_read() -> set[str]:
    """Return the names of all settings, and of those that name a file with a secret."""
    tree = ast.parse((ROOT / "settings/__init__.py").read_text())
    named = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
    asked = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "values"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }
    assert all(named.fullmatch(name) for name in asked)
    (secret,) = [
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "settings/secret_files.py").read_text()).body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "_SECRETS"
        and node.value is not None
    ]
    return asked | {f"{name}_FILE" for name in secret if name in asked}


def environment(each: Stack, container: dict[str, Any]) -> dict[str, str]:
    """Return the environment of a container."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= each.one("ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {one["name"]: one["value"] for one in container.get("env", [])}


def of_the_application(each: Stack) -> Iterator[tuple[str, Object, dict[str, Any]]]:
    for workload in each.workloads:
        role = role_of(workload)
        if role:
            for container in containers(workload):
                yield role, workload, container


def mounted_secrets(workload: Object) -> dict[str, tuple[str, str]]:
    """Return the Secret and its key, by file name."""
    (volume,) = [one for one in pod(workload)["volumes"] if one["name"] == "secrets"]
    return {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }


def test_every_setting_is_read_by_the_application(each: Stack) -> None:
    read = names_that_settings_read()
    for _, workload, container in of_the_application(each):
        unknown = environment(each, container).keys() - read
        assert not unknown, (workload["metadata"]["name"], unknown)


def test_a_typo_would_be_noticed() -> None:
    read = names_that_settings_read()
    assert {"DATABASE_URL", "DATABASE_URL_FILE", "PROXY_HOPS", "LOG_LEVEL"} <= read
    assert not {"DATABASE_URI", "PROXY_HOPS_FILE", "DATABASE_URLS"} & read


@pytest.mark.parametrize("role", ROLES)
def test_the_settings_of_each_role_are_valid(each: Stack, role: str, tmp_path: Path) -> None:
    """Read them as the process does: secrets from files, and every value checked."""
    workload = each.of_role(role)
    for container in containers(workload):
        given = environment(each, container)
        (mount,) = [one for one in container["volumeMounts"] if one["name"] == "secrets"]
        assert mount["readOnly"] is True
        for name, value in given.items():
            if name.endswith("_FILE"):
                path = Path(value)
                assert str(path.parent) == mount["mountPath"]
                file = tmp_path / path.name
                file.write_text(secret_value(each, *mounted_secrets(workload)[path.name]))
                given[name] = str(file)
        settings = Settings.from_environment(given)
        if "args" in container:
            ports = {one["name"]: one["containerPort"] for one in container.get("ports", [])}
            expected = {
                "api": {"http": settings.port},
                "flower": {"http": settings.flower_port},
                "beat": {},
            }
            workers = {"metrics": int(given.get("METRICS_PORT", "0"))}
            assert ports == expected.get(role, workers)
            assert settings.host == "0.0.0.0"  # noqa: S104 - a pod's address is not known before
            assert str(settings.data_dir) == "/var/lib/truepenny"


def secret_value(each: Stack, name: str, key: str) -> str:
    """Return the value in the overlay, or an example of a generated one."""
    for secret in each.of_kind("Secret"):
        if secret["metadata"]["name"] == name:
            return str(secret["data"][key])
    if name.startswith("truepenny-database"):
        return "postgresql://truepenny:secret@truepenny-database-rw.truepenny:5432/truepenny"
    return {
        "url": "redis://:secret@truepenny-broker:6379/0",
        "id": "secret",
        "intake-secret": "secret-of-the-intake-0123456789ab",
        "api-key": "tp_secret",
        "basic-auth": "flower:secret",
        "dsn": "https://0123456789abcdef0123456789abcdef@sentry.example.com/1",
    }[key]


def test_every_secret_is_a_file_from_a_secret_and_each_role_has_only_its_own(each: Stack) -> None:
    for role in ROLES:
        workload = each.of_role(role)
        mounted = mounted_secrets(workload)
        for file, origin in mounted.items():
            assert origin in SECRETS[file]
        named = {
            Path(value).name
            for container in containers(workload)
            for name, value in environment(each, container).items()
            if name.endswith("_FILE")
        }
        assert named == mounted.keys()
        assert ("admin-api-key" in mounted) == (role in ADMIN_KEY_IS_FOR)
        assert ("flower-basic-auth" in mounted) == (role in FLOWER_PASSWORD_IS_FOR)


def test_nothing_secret_is_in_an_environment_or_a_config_map(each: Stack) -> None:
    texts = [
        value
        for workload in each.workloads
        for container in containers(workload)
        for one in container.get("env", [])
        for value in (one.get("value", ""),)
    ]
    for workload in each.workloads:
        for container in containers(workload):
            assert not [one for one in container.get("env", []) if "valueFrom" in one]
            assert not [one for one in container.get("envFrom", []) if "secretRef" in one]
            texts += [*container.get("args", []), *container.get("command", [])]
    texts += [text for one in each.of_kind("ConfigMap") for text in one["data"].values()]
    kept = [text for one in each.of_kind("Secret") for text in one["data"].values()]
    for text in texts:
        assert not any(secret in text for secret in kept)
        assert not re.search(r"://[^/\s]*@", text), text  # a URL with a password
        assert not re.match(r"\s*requirepass\b", text), text
    names = [one["name"] for _, _, c in of_the_application(each) for one in c.get("env", [])]
    assert not {"ADMIN_API_KEY", "INTAKE_SECRET", "FLOWER_BASIC_AUTH", "SENTRY_DSN"} & {*names}


def test_secrets_are_in_no_file_but_the_developers_overlay() -> None:
    assert not stack("prod").of_kind("Secret")
    assert not stack("on-valkey").of_kind("Secret")
    for path in (*K8S.rglob("*.yaml"), *K8S.rglob("*.conf")):
        if path.parent != K8S / "overlays" / "dev":
            assert "secretGenerator" not in path.read_text()
            assert "kind: Secret" not in path.read_text()
            assert "known-to-the-world" not in path.read_text()


def test_the_developers_secrets_are_marked_as_such_and_match() -> None:
    each = stack("dev")
    services = {one["metadata"]["name"]: one for one in each.of_kind("Service")}
    for secret in each.of_kind("Secret"):
        data = secret["data"]
        assert all("known-to-the-world" in text for text in data.values())
        if "url" in data:
            url = urlsplit(data["url"])
            assert url.password == data["password"]
            (port,) = services[str(url.hostname)]["spec"]["ports"]
            assert url.port == port["port"]
        if "requirepass.conf" in data:
            assert data["requirepass.conf"] == f"requirepass {data['password']}"


def test_every_secret_that_is_named_exists_or_is_documented(each: Stack) -> None:
    """The overlay, an operator, or a reader of the README makes it."""
    described = (K8S / "README.md").read_text()
    made = {one["metadata"]["name"] for one in each.of_kind("Secret")}
    made |= {f"{one['metadata']['name']}-app" for one in each.of_kind("Cluster")}
    for workload in each.workloads:
        for name in _named(pod(workload)):
            assert name in made or f"generic {name} " in described, name


def _named(specification: dict[str, Any]) -> set[str]:
    names = set()
    for volume in specification["volumes"]:
        if "secret" in volume:
            names.add(volume["secret"]["secretName"])
        for source in volume.get("projected", {}).get("sources", []):
            names.add(source["secret"]["name"])
    return names


def test_secret_files_can_be_read_by_the_group_alone(each: Stack) -> None:
    for workload in each.workloads:
        for volume in pod(workload)["volumes"]:
            for kind in ("projected", "secret"):
                if kind in volume:
                    assert volume[kind]["defaultMode"] == 0o440
