"""docker-compose.yml: rules that every service keeps."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import yaml

from runtime.entrypoint import role_commands
from stack.servers.valkey import BROKER_ROLE, CACHE_ROLE
from testing.servers.shared import ROOT
from workers.celery_app import TIME_LIMIT_S

STORES = ["postgres", "broker", "cache"]
JOB = "migrations"
# A value that looks like a secret: a password in a URL, or a long random string.
SECRET = re.compile(r"://[^/\s$]*@|[A-Za-z0-9_+/-]{40,}")


@cache
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def ours() -> list[str]:
    return [name for name, service in services().items() if "build" in service]


def each_service() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", services())


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text.removesuffix("s"))


def test_there_is_a_service_for_every_role_of_the_image() -> None:
    roles = role_commands()
    assert {name: services()[name]["command"] for name in ours()} == {
        name: [name] for name in roles
    }


@each_service()
def test_every_service_comes_back_or_is_a_job(name: str) -> None:
    wanted = "on-failure:5" if name == JOB else "unless-stopped"
    assert services()[name]["restart"] == wanted
    assert services()[name]["init"] is True  # reaps, and is what a health check can end


@each_service()
def test_every_service_is_bounded(name: str) -> None:
    service = services()[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["cpus"]
    assert 0 < service["pids_limit"] <= 500
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert seconds(service["stop_grace_period"]) > 0


@each_service()
def test_every_service_has_minimal_rights(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "pid", "ipc", "network_mode", "devices"} & set(service)
    assert not [volume for volume in service.get("volumes", []) if "docker.sock" in volume]


@each_service()
def test_every_service_has_a_health_check(name: str) -> None:
    check = services()[name]["healthcheck"]
    if name == JOB:
        assert check == {"disable": True}
        return
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


def test_no_health_check_depends_on_another_service() -> None:
    """A check that asks other servers would restart a part that only waits for them."""
    for name in ("money", "scans", "beat"):
        assert services()[name]["healthcheck"]["test"] == [
            "CMD",
            "python",
            "-m",
            "runtime.health_probe",
            name,
        ]
    assert "/health/live" in services()["api"]["healthcheck"]["test"][-1]


@each_service()
def test_ports_are_published_on_loopback_alone(name: str) -> None:
    ports = services()[name].get("ports", [])
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert bool(ports) == (name in ("api", "flower", "prometheus"))


def test_data_stores_are_on_a_network_of_their_own() -> None:
    assert compose()["networks"]["stores"] == {"internal": True}
    for name in STORES:
        assert services()[name]["networks"] == ["stores"]
    assert services()["prometheus"]["networks"] == ["outside"]
    assert {name for name in services() if "stores" in services()[name]["networks"]} == {
        *STORES,
        *ours(),
    }


@each_service()
def test_secrets_are_files_and_each_service_gets_its_own(name: str) -> None:
    service = services()[name]
    text = yaml.safe_dump({key: service.get(key) for key in ("environment", "command", "build")})
    assert not SECRET.search(text)
    for variable, value in service.get("environment", {}).items():
        if variable.endswith("_FILE"):
            assert value.removeprefix("/run/secrets/") in service["secrets"]
    assert set(service.get("secrets", ())) <= set(compose()["secrets"])
    holders = {
        "postgres_superuser_password": {"postgres"},
        "database_password": {"postgres"},
        "database_app_password": {"postgres"},
        "migrations_database_url": {JOB},  # with it the history of the ledger can be changed
        "broker_requirepass": {"broker"},
        "cache_requirepass": {"cache"},
        "admin_api_key": {JOB},
        "flower_basic_auth": {"flower"},
        "installation_id": set(ours()),
        "intake_secret": set(ours()),
        "database_url": {JOB, "api", "money", "scans"},  # beat and Flower do not need it
        "broker_url": set(ours()) - {JOB},
        "cache_url": {"api", "money", "scans", "beat"},
    }
    for secret in service.get("secrets", ()):
        assert name in holders[secret]


def test_every_setting_can_be_set_or_is_fixed_by_the_container() -> None:
    read = set(re.findall(r'values\.\w+\("([A-Z_]+)"', (ROOT / "settings/__init__.py").read_text()))
    read |= set(
        re.findall(r'values\.\w+\(\s+"([A-Z_]+)"', (ROOT / "settings/__init__.py").read_text())
    )
    passed = {
        variable.removesuffix("_FILE")
        for name in ours()
        for variable in services()[name]["environment"]
    }
    fixed = {"DATA_DIR", "HOST", "PORT", "FLOWER_PORT"}
    assert read == (passed & read) | fixed


def test_secrets_are_in_a_folder_that_git_and_the_image_leave_out() -> None:
    for secret, place in compose()["secrets"].items():
        assert place == {"file": f"${{SECRETS_DIR:-./.secrets}}/{secret}"}
    assert "/.secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@each_service()
def test_images_are_pinned(name: str) -> None:
    image = services()[name]["image"]
    if name in ours():
        assert image == "truepenny:${TRUEPENNY_TAG:-local}"
    else:
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+[\d.]*(-bookworm)?", image)


def test_every_service_of_ours_waits_for_the_migrations() -> None:
    for name in set(ours()) - {JOB}:
        waits = services()[name]["depends_on"]
        assert waits[JOB] == {"condition": "service_completed_successfully"}
        assert all(waits[store] == {"condition": "service_healthy"} for store in STORES)
    assert services()[JOB]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_stop_time_is_longer_than_a_task_may_take() -> None:
    for name in ("money", "scans"):
        assert seconds(services()[name]["stop_grace_period"]) > TIME_LIMIT_S
    assert services()["postgres"]["stop_signal"] == "SIGINT"  # does not wait for clients


def test_only_what_keeps_data_has_a_volume() -> None:
    kept = {
        name: [volume.partition(":")[0] for volume in service["volumes"]]
        for name, service in services().items()
        if "volumes" in service
    }
    named = {name: [volume for volume in kept[name] if volume[0] != "."] for name in kept}
    assert {name: volumes for name, volumes in named.items() if volumes} == {
        "postgres": ["postgres-data", "postgres-socket"],
        "broker": ["broker-data"],
        "flower": ["flower-data"],
        "prometheus": ["prometheus-data"],
    }
    for volumes in kept.values():
        assert all((ROOT / volume).exists() for volume in volumes if volume[0] == ".")


@pytest.mark.parametrize(("name", "role"), [("broker", BROKER_ROLE), ("cache", CACHE_ROLE)])
def test_both_redis_roles_are_configured_as_with_make_up(name: str, role: str) -> None:
    configured = (ROOT / "deploy" / "redis" / f"{name}.conf").read_text().splitlines()
    assert set(role.splitlines()) <= set(configured)
    assert f"include /run/secrets/{name}_requirepass" in configured


def test_the_database_confirms_nothing_that_is_not_on_disk() -> None:
    command = services()["postgres"]["command"]
    assert {"--fsync=on", "--synchronous_commit=on", "--full_page_writes=on"} <= set(command)
