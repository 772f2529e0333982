"""That what is tested is what kustomize makes, and that nothing lies about unused."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.composition import Object, compose, read_yaml
from tests.k8s.stacks import K8S, STACKS, stack, write_on_valkey


def knows_all_that_is_used() -> bool:
    """Whether there is a kubectl with kustomize 5; older ones know less, and need not be here."""
    if shutil.which("kubectl") is None:
        return False
    asked = ["kubectl", "version", "--client", "--output=json"]
    said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    version = str(json.loads(said).get("kustomizeVersion", "v0"))
    return int(version.removeprefix("v").partition(".")[0]) >= 5


@pytest.mark.skipif(
    not knows_all_that_is_used(),
    reason="the comparison alone needs kubectl: what is compared is tested without it",
)
@pytest.mark.parametrize("name", STACKS)
def test_kubectl_composes_the_same(name: str, tmp_path: Path) -> None:
    folder = write_on_valkey(tmp_path) if name == "on-valkey" else K8S / "overlays" / name
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], check=True, capture_output=True, text=True
    )
    theirs = _by_name(_without_hashes(list(yaml.safe_load_all(done.stdout))))
    ours = _by_name(stack(name).objects)
    assert ours.keys() == theirs.keys()
    for key, made in ours.items():
        assert made == theirs[key], key


def _by_name(objects: list[Object]) -> dict[tuple[str, str], Object]:
    named = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    assert len(named) == len(objects), "two objects of one name"
    return named


def _without_hashes(objects: list[Object]) -> list[Object]:
    """Generated names end with a hash of their content; data of Secrets is encoded."""
    names = {}
    for each in objects:
        if each["kind"] == "Secret":
            each["data"] = {k: base64.b64decode(v).decode() for k, v in each["data"].items()}
            each.pop("type", None)
        if each["kind"] == "ConfigMap":
            name = each["metadata"]["name"]
            names[name] = name.rpartition("-")[0]
    return [_renamed(each, names) for each in objects]


def _renamed(value: Any, names: dict[str, str]) -> Any:
    match value:
        case dict():
            return {key: _renamed(each, names) for key, each in value.items()}
        case list():
            return [_renamed(each, names) for each in value]
        case str():
            return names.get(value, value)
    return value


def test_every_file_is_used() -> None:
    used = {K8S / "README.md"}
    for path in K8S.rglob("kustomization.yaml"):
        (kustomization,) = read_yaml(path)
        generated = kustomization.get("configMapGenerator", [])
        names = [
            *kustomization.get("resources", []),
            *(file for entry in generated for file in entry.get("files", [])),
        ]
        used |= {path, *((path.parent / name).resolve() for name in names)}
    assert {path for path in K8S.rglob("*") if path.is_file()} == {
        path for path in used if path.is_file()
    }


def test_every_component_is_in_a_tested_stack() -> None:
    reached: set[Path] = set()

    def reach(folder: Path) -> None:
        reached.add(folder)
        (kustomization,) = read_yaml(folder / "kustomization.yaml")
        for name in (*kustomization.get("resources", []), *kustomization.get("components", [])):
            if (folder / name).is_dir():
                reach((folder / name).resolve())

    for name in ("dev", "prod"):
        reach(K8S / "overlays" / name)
    on_valkey_alone = {K8S / "components" / "keda-valkey"}
    assert {path.parent for path in K8S.rglob("kustomization.yaml")} == reached | on_valkey_alone
    assert any(
        each["type"] == "redis"
        for each in stack("on-valkey").one("ScaledObject", "truepenny-money")["spec"]["triggers"]
    )


def test_ours_refuses_what_it_does_not_compose(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("namePrefix: our-\n")
    with pytest.raises(AssertionError, match="namePrefix"):
        compose(tmp_path)
