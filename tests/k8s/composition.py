"""Composition: builds a kustomization with kustomize, in a form that is easy to test."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import yaml

from testing.programs import KUSTOMIZE

Object = dict[str, Any]


def read_yaml(path: Path) -> list[Any]:
    """Return all documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text()))


def compose(folder: Path) -> list[Object]:
    """Return the objects of a kustomization: Secrets decoded, generated names without hash.

    Raises: MissingProgram: where kustomize is not installed.
    """
    done = subprocess.run(
        [KUSTOMIZE.path(), "build", folder], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    objects: list[Object] = list(yaml.safe_load_all(done.stdout))
    generated = {}
    for each in objects:
        if each["kind"] == "Secret":
            each["data"] = {k: base64.b64decode(v).decode() for k, v in each["data"].items()}
            assert each.pop("type") == "Opaque"
        if each["kind"] == "ConfigMap":
            name = each["metadata"]["name"]
            generated[name], _, _ = name.rpartition("-")
    return [_renamed(each, generated) for each in objects]


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """Return the value with these strings replaced everywhere in it."""
    match value:
        case dict():
            return {key: _renamed(each, names) for key, each in value.items()}
        case list():
            return [_renamed(each, names) for each in value]
        case str():
            return names.get(value, value)
    return value
