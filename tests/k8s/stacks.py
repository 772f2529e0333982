"""Tested stacks: both overlays, and a third made of the components that they do not use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from testing.servers.shared import ROOT
from tests.k8s.composition import Object, compose

K8S = ROOT / "k8s"
ROLES = ("api", "money", "scans", "beat", "flower", "migrations")
WORKERS = ("money", "scans")
SERVERS = ("database", "broker", "cache")

_ON_VALKEY = {
    "apiVersion": "kustomize.config.k8s.io/v1beta1",
    "kind": "Kustomization",
    "namespace": "truepenny",
    "resources": ["base"],
    "components": [
        f"components/{name}" for name in ("cloudnative-pg", "valkey", "hpa", "keda", "keda-valkey")
    ],
}


@dataclass(frozen=True)
class Stack:
    """All objects of one stack."""

    name: str
    objects: list[Object]

    def of_kind(self, *kinds: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] in kinds]

    def one(self, kind: str, name: str) -> Object:
        (found,) = [each for each in self.of_kind(kind) if each["metadata"]["name"] == name]
        return found

    @property
    def workloads(self) -> list[Object]:
        """Return the workloads with pods of their own, without those that operators make."""
        return self.of_kind("Deployment", "StatefulSet", "Job")

    def of_role(self, role: str) -> Object:
        """Return the workload of a part of the application."""
        (found,) = [each for each in self.workloads if role_of(each) == role]
        return found


def role_of(workload: Object) -> str | None:
    """Return which part of the application it is; None for a server."""
    labels = pod_labels(workload)
    if labels.get("app.kubernetes.io/name") != "truepenny":
        return None
    return str(labels["app.kubernetes.io/component"])


def pod(workload: Object) -> dict[str, Any]:
    specification: dict[str, Any] = workload["spec"]["template"]["spec"]
    return specification


def pod_labels(workload: Object) -> dict[str, str]:
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def containers(workload: Object) -> Iterator[dict[str, Any]]:
    yield from (*pod(workload).get("initContainers", []), *pod(workload)["containers"])


@cache
def stack(name: str) -> Stack:
    """Compose it, once for all tests."""
    if name != "on-valkey":
        return Stack(name, compose(K8S / "overlays" / name))
    with TemporaryDirectory() as folder:
        return Stack(name, compose(_write_on_valkey(Path(folder).resolve())))


def _write_on_valkey(folder: Path) -> Path:
    """Write the third stack where kustomize can read it: it allows relative paths only."""
    relative = Path(os.path.relpath(K8S, folder))
    places = {
        field: [str(relative / name) for name in _ON_VALKEY[field]]
        for field in ("resources", "components")
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({**_ON_VALKEY, **places}))
    return folder


STACKS = ("dev", "prod", "on-valkey")
