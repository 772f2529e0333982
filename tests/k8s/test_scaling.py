"""Scaling: what grows with the load, its triggers, and the limit of database connections."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from sqlalchemy import text

from ledger.postgres.database import autocommit, build_engine
from runtime.commands import app_commands
from settings import Settings
from tasks import engine as worker_engine
from tasks.broker import queues
from testing.bank import Bank
from testing.identity import IDENTITY
from tests.k8s.composition import Object
from tests.k8s.stacks import K8S, Stack, pod, stack
from tests.unit.settings.test_settings import URLS

SCALED = ("prod", "on-valkey")
OF_OTHERS = 12
"""Connections of the operator, the superuser reserve, and KEDA."""


def scaled_object(each: Stack) -> dict[str, Any]:
    specification: dict[str, Any] = each.one("ScaledObject", "truepenny-money")["spec"]
    return specification


@pytest.mark.parametrize("name", SCALED)
def test_each_deployment_is_scaled_by_one_autoscaler(name: str) -> None:
    each = stack(name)
    targets = [
        (one["spec"]["scaleTargetRef"]["kind"], one["spec"]["scaleTargetRef"]["name"])
        for one in each.of_kind("HorizontalPodAutoscaler", "ScaledObject")
    ]
    assert sorted(targets) == [("Deployment", "truepenny-api"), ("Deployment", "truepenny-money")]
    for kind, target in targets:
        # A replica count in the manifest would overwrite it with each `kubectl apply`.
        assert "replicas" not in each.one(kind, target)["spec"]


@pytest.mark.parametrize("name", SCALED)
def test_lower_bounds_are_below_upper_bounds(name: str) -> None:
    api = stack(name).one("HorizontalPodAutoscaler", "truepenny-api")["spec"]
    money = scaled_object(stack(name))
    assert 2 <= api["minReplicas"] < api["maxReplicas"]
    assert 2 <= money["minReplicaCount"] < money["maxReplicaCount"]
    behaviour = money["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    for each in (api["behavior"], behaviour):
        assert each["scaleDown"]["stabilizationWindowSeconds"] >= 60


def test_without_an_autoscaler_scalable_parts_have_two_replicas() -> None:
    each = stack("prod")
    assert each.of_role("scans")["spec"]["replicas"] == 3
    for role in ("api", "money", "scans"):
        assert stack("dev").of_role(role)["spec"]["replicas"] == 1


@pytest.mark.parametrize("name", SCALED)
def test_triggers_look_at_the_queues_that_money_workers_empty(name: str) -> None:
    each = stack(name)
    triggers = scaled_object(each)["triggers"]
    watched = {
        one["metadata"].get("queueName") or one["metadata"].get("listName") for one in triggers
    } - {None}
    command = app_commands()["money"]
    consumed = command[command.index("--queues") + 1].split(",")
    (id,) = set(re.findall(r"--from-literal=id=(\S+)", (K8S / "README.md").read_text()))
    settings = Settings.from_environment({**IDENTITY, **URLS, "INSTALLATION_ID": id})
    has_rabbitmq = bool(each.of_kind("RabbitmqCluster"))
    prefix = settings.queue_prefix if has_rabbitmq else settings.key_prefix
    assert {*consumed} == {queues.ADVANCE, queues.RESERVE}
    assert watched == {prefix + name for name in consumed}
    kind = "rabbitmq" if has_rabbitmq else "redis"
    assert [one["type"] for one in triggers] == ["postgresql", kind, kind]
    assert len({one["name"] for one in triggers}) == len(triggers)


@pytest.mark.parametrize("name", SCALED)
def test_triggers_have_an_address_and_credentials(name: str) -> None:
    each = stack(name)
    for trigger in scaled_object(each)["triggers"]:
        known = each.one("TriggerAuthentication", trigger["authenticationRef"]["name"])
        assert known["spec"]["secretTargetRef"]
        where = trigger["metadata"].get("host") or trigger["metadata"].get("address", "")
        if where:  # KEDA runs in its own namespace, so the name must include ours
            service, namespace, kind = where.partition(":")[0].split(".")
            assert (namespace, kind) == (known["metadata"]["namespace"], "svc")
            assert service in services_of(each)


def services_of(each: Stack) -> set[str]:
    """Return the services of the manifests and those that operators make."""
    names = {one["metadata"]["name"] for one in each.of_kind("Service", "RabbitmqCluster")}
    return names | {f"{one['metadata']['name']}-rw" for one in each.of_kind("Cluster")}


def test_waiting_transfers_are_counted_cheaply(bank: Bank) -> None:
    (trigger,) = [
        one for one in scaled_object(stack("prod"))["triggers"] if one["type"] == "postgresql"
    ]
    query = text(trigger["metadata"]["query"])
    with autocommit(bank.engine) as connection:
        assert connection.execute(query).scalar_one() == 0
    bank.accept(bank.request(bank.wallet(100), bank.wallet(), 1))
    with autocommit(bank.engine) as connection:
        assert connection.execute(query).scalar_one() == 1
        connection.execute(text("SET enable_seqscan = off"))
        plan = connection.execute(text(f"EXPLAIN {query.text}")).scalars()
        indexes = ("unfinished_unclaimed", "unfinished_by_turn")  # of the rows that can be claimed
        assert any(index in line for line in plan for index in indexes)


@pytest.mark.parametrize("name", ["dev", *SCALED])
def test_the_database_has_enough_connections(name: str) -> None:
    """With the maximum number of pods, plus one of each kind during a rollout."""
    each = stack(name)
    needed = OF_OTHERS + 1  # the migrations
    for role in ("api", "money", "scans"):
        needed += (most_pods(each, role) + 1) * connections_of(each, role)
    assert needed <= max_connections(each)


def most_pods(each: Stack, role: str) -> int:
    for one in each.of_kind("HorizontalPodAutoscaler", "ScaledObject"):
        if one["spec"]["scaleTargetRef"]["name"] == f"truepenny-{role}":
            return int(one["spec"].get("maxReplicas") or one["spec"]["maxReplicaCount"])
    return int(each.of_role(role)["spec"]["replicas"])


def connections_of(each: Stack, role: str) -> int:
    """Return the maximum for one pod."""
    if role == "api":
        processes = int(each.one("ConfigMap", "truepenny-settings")["data"]["API_PROCESSES"])
        pool = inspect.signature(build_engine).parameters["pool_size"].default
        own = ("prices", "health", "the overview", "the probe")
        return processes * (int(pool) + len(own))
    command = app_commands()[role]
    children = int(command[command.index("--concurrency") + 1])
    return children * worker_engine.POOL_SIZE + 1  # the probe's


def max_connections(each: Stack) -> int:
    for cluster in each.of_kind("Cluster"):
        return int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
    (container,) = pod(each.one("StatefulSet", "truepenny-database"))["containers"]
    (argument,) = [one for one in container["args"] if one.startswith("max_connections=")]
    return int(argument.partition("=")[2])


def test_a_failover_of_the_database_loses_nothing() -> None:
    for name in SCALED:
        (cluster,) = stack(name).of_kind("Cluster")
        specification: Object = cluster["spec"]
        assert specification["instances"] == 3
        assert specification["postgresql"]["synchronous"] == {
            "method": "any",
            "number": 1,
            "dataDurability": "required",  # no commit that only one instance has
            "failoverQuorum": True,  # and none is promoted that may lack one
        }
        assert specification["postgresql"]["parameters"]["synchronous_commit"] == "on"
        assert specification["affinity"]["podAntiAffinityType"] == "required"


def test_rabbitmq_keeps_each_message_on_two_nodes_of_three() -> None:
    (cluster,) = stack("prod").of_kind("RabbitmqCluster")
    assert cluster["spec"]["replicas"] == 3
    configuration = cluster["spec"]["rabbitmq"]["additionalConfig"]
    assert "cluster_partition_handling = pause_minority" in configuration.splitlines()
    (rule,) = cluster["spec"]["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert rule["labelSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": cluster["metadata"]["name"]
    }
