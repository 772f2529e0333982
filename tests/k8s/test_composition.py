"""Composition with kustomize: errors are refused, and every file and component is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.k8s.composition import compose, read_yaml
from tests.k8s.stacks import K8S, STACKS, stack


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


def test_every_patch_finds_what_it_changes() -> None:
    """Kustomize does not report a patch whose target matches nothing."""
    objects = [one for name in STACKS for one in stack(name).objects]
    for path in K8S.rglob("kustomization.yaml"):
        (kustomization,) = read_yaml(path)
        for patch in kustomization.get("patches", []):
            target = patch["target"]
            assert target.keys() == {"kind", "name"}
            assert any(
                one["kind"] == target["kind"]
                and re.fullmatch(target["name"], one["metadata"]["name"])
                for one in objects
            ), target


@pytest.mark.parametrize(
    ("kustomization", "message"),
    [
        ("namePrefixes: our-\n", "unknown field"),
        ("resources: [twice.yaml]\n", "already"),
        ("resources: [config.yaml, config.yaml]\n", "may not add resource"),
    ],
    ids=["unknown-field", "a-key-twice", "a-name-twice"],
)
def test_kustomize_refuses_patches_that_would_be_lost_silently(
    tmp_path: Path, kustomization: str, message: str
) -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n"
    (tmp_path / "config.yaml").write_text(config)
    (tmp_path / "twice.yaml").write_text(f"{config}data: {{a: b}}\ndata: {{c: d}}\n")
    (tmp_path / "kustomization.yaml").write_text(kustomization)
    with pytest.raises(AssertionError, match=message):
        compose(tmp_path)
