"""Network policies as Kubernetes evaluates them: both sides must allow a connection."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.k8s.composition import Object
from tests.k8s.stacks import Stack, pod_labels


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod with labels and namespace, or an outside address."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "ours"
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None

    @classmethod
    def outside(cls, address: str) -> Peer:
        return cls(namespace="", address=address)

    @classmethod
    def elsewhere(cls, namespace: str, **labels: str) -> Peer:
        names = {"kubernetes.io/metadata.name": namespace}
        return cls(labels, namespace, names)


def role_peer(stack: Stack, role: str) -> Peer:
    return Peer(pod_labels(stack.of_role(role)))


def server_peer(stack: Stack, server: str) -> Peer:
    """Return a server's pod with its labels, which an operator sets for its own pods."""
    for cluster in stack.of_kind("Cluster"):
        labels = cluster["spec"]["inheritedMetadata"]["labels"]
        if labels.get("truepenny/serves") == server:
            return Peer({**labels, "cnpg.io/cluster": cluster["metadata"]["name"]})
    for cluster in stack.of_kind("RabbitmqCluster"):
        own = cluster["metadata"]["labels"]
        if own.get("truepenny/serves") == server:
            handed_on = {k: v for k, v in own.items() if not k.startswith("app.kubernetes.io/")}
            named = {"app.kubernetes.io/name": cluster["metadata"]["name"]}
            return Peer({**handed_on, **named})
    (workload,) = [
        one for one in stack.workloads if pod_labels(one).get("truepenny/serves") == server
    ]
    return Peer(pod_labels(workload))


def allows(stack: Stack, source: Peer, destination: Peer, port: int, protocol: str = "TCP") -> bool:
    """Return whether a connection is allowed."""
    policies = stack.of_kind("NetworkPolicy")
    return _side(policies, "Egress", source, destination, port, protocol) and _side(
        policies, "Ingress", destination, source, port, protocol
    )


def _side(
    policies: list[Object], way: str, of: Peer, other: Peer, port: int, protocol: str
) -> bool:
    if of.namespace != "ours":
        return True  # our policies select only our own pods
    selecting = [
        one["spec"]
        for one in policies
        if way in one["spec"]["policyTypes"] and _selects(one["spec"]["podSelector"], of.labels)
    ]
    if not selecting:
        return True  # without a policy everything is allowed
    key, peers = ("egress", "to") if way == "Egress" else ("ingress", "from")
    return any(
        _has_port(rule, port, protocol) and _has_peer(rule.get(peers), other)
        for one in selecting
        for rule in one.get(key, [])
    )


def _has_port(rule: dict[str, Any], port: int, protocol: str) -> bool:
    return "ports" not in rule or any(
        one["port"] == port and one.get("protocol", "TCP") == protocol for one in rule["ports"]
    )


def _has_peer(peers: list[dict[str, Any]] | None, other: Peer) -> bool:
    if peers is None:
        return True
    return any(_is_peer(one, other) for one in peers)


def _is_peer(peer: dict[str, Any], other: Peer) -> bool:
    if "ipBlock" in peer:
        return other.address is not None and _in_block(peer["ipBlock"], other.address)
    if other.address is not None:
        return False
    if "namespaceSelector" in peer:
        in_space = _selects(peer["namespaceSelector"], other.namespace_labels)
    else:
        in_space = other.namespace == "ours"
    return in_space and _selects(peer.get("podSelector", {}), other.labels)


def _in_block(block: dict[str, Any], address: str) -> bool:
    one = ipaddress.ip_address(address)
    return one in ipaddress.ip_network(block["cidr"]) and not any(
        one in ipaddress.ip_network(excepted) for excepted in block.get("except", [])
    )


def _selects(selector: dict[str, Any], labels: Mapping[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}, selector
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(one["key"]) in one["values"]
        for one in selector.get("matchExpressions", [])
        if _is_in(one)
    )


def _is_in(expression: dict[str, Any]) -> bool:
    assert expression["operator"] == "In", expression
    return True
