"""Network access: each part reaches the servers it needs, and nothing else."""

from __future__ import annotations

import itertools

import pytest

from tests.k8s.network import Peer, allows, role_peer, server_peer
from tests.k8s.stacks import ROLES, SERVERS, Stack, containers, stack

NEEDS = {
    "api": {"database", "broker", "cache"},
    "money": {"database", "broker", "cache"},
    "scans": {"database", "broker", "cache"},
    "beat": {"broker", "cache"},
    "flower": {"broker"},
    "migrations": {"database"},
}
PORTS = {"database": 5432, "broker": 6379, "cache": 6379}
URLS = {"database": "DATABASE_URL_FILE", "broker": "BROKER_URL_FILE", "cache": "CACHE_URL_FILE"}
BINANCE = "52.84.150.36"
KUBERNETES = "10.96.0.1"
METADATA_OF_THE_CLOUD = "169.254.169.254"
ALL_PORTS = (22, 80, 443, 5432, 5555, 5672, 6379, 6443, 8000, 9464)


def port_of(each: Stack, server: str) -> int:
    return 5672 if server == "broker" and each.of_kind("RabbitmqCluster") else PORTS[server]


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_reaches_the_servers_it_needs_and_no_other(
    each: Stack, role: str, server: str
) -> None:
    source, destination = role_peer(each, role), server_peer(each, server)
    is_allowed = allows(each, source, destination, port_of(each, server))
    assert is_allowed == (server in NEEDS[role])
    for port in set(ALL_PORTS) - {5672, 6379, 5432}:
        assert not allows(each, source, destination, port)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_only_the_addresses_of_servers_it_needs(each: Stack, role: str) -> None:
    given = {
        one["name"]
        for container in containers(each.of_role(role))
        for one in container.get("env", [])
    }
    assert {server for server in SERVERS if URLS[server] in given} == NEEDS[role]


def test_pods_without_their_own_policy_may_do_nothing(each: Stack) -> None:
    """One policy selects all pods, also future ones, and allows nothing in either direction."""
    assert [
        one["metadata"]["name"]
        for one in each.of_kind("NetworkPolicy")
        if one["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ] == ["default-deny"]
    assert not allows(each, Peer(), Peer.outside(BINANCE), 443)
    assert not allows(each, Peer(), Peer(), 8000)


def test_every_pod_may_use_dns(each: Stack) -> None:
    labels = {"k8s-app": "kube-dns"}
    dns = Peer(labels, "kube-system", {"kubernetes.io/metadata.name": "kube-system"})
    sources = [role_peer(each, role) for role in ROLES]
    for source in (*sources, *(server_peer(each, server) for server in SERVERS)):
        assert allows(each, source, dns, 53, "UDP")
        assert allows(each, source, dns, 53)


def test_parts_of_the_application_do_not_talk_to_each_other(each: Stack) -> None:
    for source, destination in itertools.permutations(ROLES, 2):
        for port in ALL_PORTS:
            assert not allows(each, role_peer(each, source), role_peer(each, destination), port)


def test_servers_do_not_call_the_application(each: Stack) -> None:
    for server, role in itertools.product(SERVERS, ROLES):
        for port in ALL_PORTS:
            assert not allows(each, server_peer(each, server), role_peer(each, role), port)


@pytest.mark.parametrize(
    ("name", "roles"), [("dev", {"scans"}), ("prod", {"scans", "api", "money", "beat"})]
)
def test_only_parts_that_need_the_internet_may_reach_it(name: str, roles: set[str]) -> None:
    """The scan worker asks Binance; with the component `sentry`, the reporting parts too."""
    each = stack(name)
    for role in ROLES:
        source = role_peer(each, role)
        assert allows(each, source, Peer.outside(BINANCE), 443) == (role in roles)
        assert allows(each, source, Peer.outside("2600:9000::1"), 443) == (role in roles)
        assert not allows(each, source, Peer.outside(BINANCE), 80)
        for address in (KUBERNETES, METADATA_OF_THE_CLOUD, "192.168.1.1", "172.16.0.1", "fd00::1"):
            assert not allows(each, source, Peer.outside(address), 443), (role, address)


def test_the_parts_with_sentrys_address_may_reach_it() -> None:
    each = stack("prod")
    for role in ROLES:
        given = {
            one["name"]
            for container in containers(each.of_role(role))
            for one in container.get("env", [])
        }
        may = allows(each, role_peer(each, role), Peer.outside(BINANCE), 443)
        assert ("SENTRY_DSN_FILE" in given) == may


def test_the_api_is_reached_by_its_intended_callers_only(each: Stack) -> None:
    api = role_peer(each, "api")
    caller = Peer({}, "shop", {"truepenny/calls-api": "true"})
    assert allows(each, caller, api, 8000)
    assert not allows(each, Peer.elsewhere("shop"), api, 8000)
    assert not allows(each, Peer.outside(BINANCE), api, 8000)
    is_behind_ingress = bool(each.of_kind("Ingress"))
    assert allows(each, Peer.elsewhere("ingress-nginx"), api, 8000) == is_behind_ingress


def test_prometheus_reaches_its_targets(each: Stack) -> None:
    prometheus, scraped = Peer.elsewhere("monitoring"), set()
    for role in ROLES:
        template = each.of_role(role)["spec"]["template"]["metadata"]
        annotations = template.get("annotations", {})
        if annotations.get("prometheus.io/scrape") != "true":
            continue
        scraped.add(role)
        port = int(annotations["prometheus.io/port"])
        ports = {
            one["containerPort"]
            for container in containers(each.of_role(role))
            for one in container.get("ports", [])
        }
        assert port in ports
        assert allows(each, prometheus, role_peer(each, role), port)
        assert annotations["prometheus.io/path"] == "/metrics"
    assert scraped == {"api", "money", "scans"}
    for role, server in itertools.product(("flower", "beat"), SERVERS):
        assert not allows(each, prometheus, role_peer(each, role), 5555)
        assert not allows(each, prometheus, server_peer(each, server), PORTS[server])


def test_flower_is_reached_through_kubectl_alone(each: Stack) -> None:
    """A port that kubectl forwards starts inside the pod, where no policy applies."""
    for name in ("ingress-nginx", "monitoring", "default"):
        assert not allows(each, Peer.elsewhere(name), role_peer(each, "flower"), 5555)


def test_operators_and_keda_reach_what_they_manage() -> None:
    for name, broker_port in (("prod", 5672), ("on-valkey", 6379)):
        each = stack(name)
        keda, operator = Peer.elsewhere("keda"), Peer.elsewhere("cnpg-system")
        database, broker = server_peer(each, "database"), server_peer(each, "broker")
        assert allows(each, keda, database, 5432)
        assert allows(each, keda, broker, broker_port)
        assert not allows(each, keda, server_peer(each, "cache"), 6379)
        assert allows(each, operator, database, 8000)
        assert allows(each, operator, database, 5432)
        assert allows(each, database, database, 5432)
        assert allows(each, database, Peer.outside(KUBERNETES), 443)
    rabbit = server_peer(stack("prod"), "broker")
    for port in (4369, 25672):
        assert allows(stack("prod"), rabbit, rabbit, port)
    assert allows(stack("prod"), rabbit, Peer.outside(KUBERNETES), 443)


def test_no_other_pod_reaches_a_server(each: Stack) -> None:
    for namespace, server in itertools.product(("default", "shop", "ingress-nginx"), SERVERS):
        for port in ALL_PORTS:
            assert not allows(each, Peer.elsewhere(namespace), server_peer(each, server), port)
