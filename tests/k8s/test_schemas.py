"""Schemas: the API server would accept every object; unknown fields are refused."""

from __future__ import annotations

import copy
import json
from functools import cache

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from tests.k8s.composition import Object
from tests.k8s.custom_resources import SCHEMAS
from tests.k8s.stacks import STACKS, Stack, stack

OLDEST = "1.30"
"""The first version with all that is used: a container's `preStop.sleep`."""
VERSIONS = (OLDEST, "1.34")


def validate(each: Object, version: str) -> None:
    schema = SCHEMAS.get((each["apiVersion"], each["kind"]))
    if schema is None:
        _validate_once(json.dumps(each), version)
    else:
        jsonschema.validate(each, schema)


@cache
def _validate_once(each: str, version: str) -> None:
    """Cached: most objects are the same in every stack, and reading schemas is slow."""
    kubernetes_validate.validate(json.loads(each), version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_its_schema(each: Stack, version: str) -> None:
    for one in each.objects:
        names = {k: v for k, v in one["metadata"].items() if k != "namespace"}
        validate({**one, "metadata": names}, version)


@pytest.mark.parametrize("kind", sorted(kind for _, kind in SCHEMAS))
def test_every_custom_resource_is_used_and_its_schema_refuses_typos(kind: str) -> None:
    found = [one for name in STACKS for one in stack(name).of_kind(kind)]
    assert found
    wrong = copy.deepcopy(found[0])
    wrong["spec"]["tpyo"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validate(wrong, OLDEST)


def test_a_typo_in_an_object_of_kubernetes_is_refused() -> None:
    wrong = copy.deepcopy(stack("dev").of_role("api"))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(wrong, OLDEST)


def test_objects_belong_together_and_names_are_taken_once(each: Stack) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in each.objects]
    assert len(names) == len(set(names))
    spaces = {
        one["metadata"].get("namespace") for one in each.objects if one["kind"] != "Namespace"
    }
    assert len(spaces) == 1
    assert None not in spaces
