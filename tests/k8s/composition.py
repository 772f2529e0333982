"""Composes k8s/ as kustomize does, so that what is tested does not depend on kubectl.

It knows the parts of kustomize that k8s/ uses, and refuses what it does not know. Where there is
a kubectl, a test compares the two. One thing is left out: the hash at the end of generated names.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

_KNOWN = {
    "apiVersion",
    "kind",
    "resources",
    "components",
    "configMapGenerator",
    "secretGenerator",
    "patches",
    "namespace",
    "replicas",
    "images",
    "replacements",
}
_GENERATED = {"name", "behavior", "literals", "files", "options"}
_NOT_IN_A_NAMESPACE = {"Namespace"}


class UniqueKeys(yaml.SafeLoader):
    """Refuses a mapping that names a key twice, of which the first would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key twice: {keys} {node.start_mark}"
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> list[Any]:
    """All documents of a file."""
    return list(yaml.load_all(path.read_text(), Loader=UniqueKeys))


def compose(folder: Path, given: list[Object] | None = None) -> list[Object]:
    """What a kustomization makes; of a component, what it makes of the objects given."""
    (kustomization,) = read_yaml(folder / "kustomization.yaml")
    unknown = kustomization.keys() - _KNOWN
    assert not unknown, f"{folder}: {unknown} is not composed here"
    objects = copy.deepcopy(given or [])
    for name in kustomization.get("resources", []):
        objects += compose(folder / name) if (folder / name).is_dir() else read_yaml(folder / name)
    for name in kustomization.get("components", []):
        objects = compose(folder / name, objects)
    for kind, field in (("ConfigMap", "configMapGenerator"), ("Secret", "secretGenerator")):
        for entry in kustomization.get(field, []):
            _generate(kind, entry, folder, objects)
    for transform in (_patch, _set_namespace, _set_replicas, _set_images, _replace):
        transform(kustomization, objects)
    return objects


def _generate(kind: str, entry: dict[str, Any], folder: Path, objects: list[Object]) -> None:
    assert entry.keys() <= _GENERATED, entry
    data = dict(literal.split("=", 1) for literal in entry.get("literals", []))
    data |= {Path(file).name: (folder / file).read_text() for file in entry.get("files", [])}
    if entry.get("behavior", "create") == "merge":
        (merged,) = _select(objects, {"kind": kind, "name": re.escape(entry["name"])})
        merged["data"] |= data
        return
    objects.append(
        {"apiVersion": "v1", "kind": kind, "metadata": {"name": entry["name"]}, "data": data}
    )


def _patch(kustomization: dict[str, Any], objects: list[Object]) -> None:
    for patch in kustomization.get("patches", []):
        selected = _select(objects, patch["target"])
        assert selected, f"nothing to patch: {patch['target']}"
        for each in selected:
            for operation in yaml.safe_load(patch["patch"]):
                _apply(operation, each)


def _apply(operation: dict[str, Any], to: Object) -> None:
    """One operation of a JSON patch (RFC 6902)."""
    *path, last = operation["path"].removeprefix("/").split("/")
    holder: Any = to
    for step in path:
        holder = holder[int(step) if isinstance(holder, list) else step]
    match operation["op"], holder:
        case "add", list() if last == "-":
            holder.append(copy.deepcopy(operation["value"]))
        case "add", dict():
            holder[last] = copy.deepcopy(operation["value"])
        case "replace", dict() if last in holder:
            holder[last] = copy.deepcopy(operation["value"])
        case "remove", dict():
            del holder[last]
        case _:
            raise AssertionError(f"{operation} is not composed here")


def _set_namespace(kustomization: dict[str, Any], objects: list[Object]) -> None:
    if "namespace" in kustomization:
        for each in objects:
            if each["kind"] not in _NOT_IN_A_NAMESPACE:
                each["metadata"]["namespace"] = kustomization["namespace"]


def _set_replicas(kustomization: dict[str, Any], objects: list[Object]) -> None:
    for entry in kustomization.get("replicas", []):
        (one,) = _select(objects, {"kind": "Deployment", "name": re.escape(entry["name"])})
        one["spec"]["replicas"] = entry["count"]


def _set_images(kustomization: dict[str, Any], objects: list[Object]) -> None:
    for entry in kustomization.get("images", []):
        for container in (one for each in objects for one in _containers(each)):
            name, _, tag = container["image"].partition(":")
            if name == entry["name"]:
                tag = entry.get("newTag", tag)
                container["image"] = f"{entry.get('newName', name)}:{tag}"


def _containers(each: Object) -> Iterator[dict[str, Any]]:
    if "template" in each.get("spec", {}):
        pod = each["spec"]["template"]["spec"]
        yield from (*pod.get("initContainers", []), *pod["containers"])


def _replace(kustomization: dict[str, Any], objects: list[Object]) -> None:
    for entry in kustomization.get("replacements", []):
        source = entry["source"]
        (one,) = _select(objects, {"kind": source["kind"], "name": re.escape(source["name"])})
        value = _at(one, source["fieldPath"].split("."))
        value = value.split(source["options"]["delimiter"])[source["options"]["index"]]
        for target in entry["targets"]:
            for each in _select(objects, target["select"]):
                for field in target["fieldPaths"]:
                    *path, last = field.split(".")
                    holder, options = _at(each, path), target["options"]
                    parts = holder[last].split(options["delimiter"])
                    parts[options["index"]] = value
                    holder[last] = options["delimiter"].join(parts)


def _at(value: Any, path: list[str]) -> Any:
    for step in path:
        value = value[int(step) if isinstance(value, list) else step]
    return value


def _select(objects: list[Object], target: dict[str, str]) -> list[Object]:
    """As kustomize: what is said of a target are regular expressions that fit as a whole."""
    assert target.keys() <= {"kind", "name"}, target
    fits: Callable[[str, str], bool] = lambda said, is_: bool(re.fullmatch(said, is_))  # noqa: E731
    return [
        each
        for each in objects
        if fits(target["kind"], each["kind"])
        and fits(target.get("name", ".*"), each["metadata"]["name"])
    ]
