"""Puts the document together from the operations, the models and the table of problems."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import TypedDictSchema

from api.http.headers import JSON, MAX_WAIT_S, PROBLEM_JSON
from api.http.problems import TABLE, Problem
from api.openapi.examples import KEY, TRANSFER
from api.openapi.operations import Operation, Success
from api.openapi.paths import OPERATIONS
from api.openapi.paths.transfers import FAILURES
from api.rate_limits.headers import HEADERS as RATE_HEADERS
from api.rate_limits.headers import LIMIT, REMAINING, RESET
from api.schemas.fields import MAX_KEY_LENGTH
from api.schemas.problems import ProblemDocument
from api.schemas.requests import NewBatchItem, Query
from version import version

Json = dict[str, Any]
_SCHEMAS: Final = "#/components/schemas/"
_ID: Final = {"type": "string", "format": "uuid"}
_SYMBOL: Final = {"type": "string", "examples": ["BTCUSDT"]}

DESCRIPTION: Final = """\
Moves money between wallets and never loses a penny.

**Amounts** are decimal strings with at most as many decimals as the asset has; answers print
all of them. **Times** are RFC 3339 in UTC. **Lists** take `limit` and the `cursor` that the
page before gave. **Unknown** fields and parameters are errors. **Errors** are RFC 9457
problems; look at `code`. Nothing in a 4xx or 5xx has moved money. Every answer carries
`X-Request-Id`: yours, if you sent one. **Limits**: writing is limited, by your address or by
your client if it has a limit of its own; a batch counts as one. So are failed
authentications, by address. Where a request was counted, `X-RateLimit-*` says how you stand.
"""

PARAMETERS: Final[dict[str, Json]] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "What makes a repeat harmless: one key, one transfer. Printable, UTF-8.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
        "example": KEY,
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": f"`wait=N`: answer once it has ended, or after N seconds, at most "
        f"{MAX_WAIT_S} (RFC 7240). Not applied when too many are waiting.",
        "schema": {"type": "string"},
        "example": "wait=10",
    },
    "X-Request-Id": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "An id of yours, to find the request again: up to 128 ASCII characters.",
        "schema": {"type": "string", "maxLength": 128},
    },
}

HEADERS: Final[dict[str, Json]] = {
    "X-Request-Id": {"description": "The request's id.", "schema": {"type": "string"}},
    "Location": {
        "description": "Where to read it.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {
        "description": "After how many seconds to ask again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    LIMIT: {
        "description": "How many requests your limit allows. Only where you have one.",
        "schema": {"type": "integer", "minimum": 1},
    },
    REMAINING: {
        "description": "How many of them are left.",
        "schema": {"type": "integer", "minimum": 0},
    },
    RESET: {
        "description": "When all are there again, in seconds since 1970.",
        "schema": {"type": "integer"},
    },
    "Idempotent-Replayed": {
        "description": "On a repeat only.",
        "schema": {"type": "string", "const": "true"},
    },
    "Preference-Applied": {
        "description": "When we waited as you preferred.",
        "schema": {"type": "string", "const": "wait"},
    },
    "WWW-Authenticate": {
        "description": "How to send a key.",
        "schema": {"type": "string", "const": "Bearer"},
    },
}


@cache
def build_document() -> Json:
    """Return the document. Callers share it and leave it as it is."""
    paths: defaultdict[str, Json] = defaultdict(dict)
    for operation in OPERATIONS:
        paths[operation.path][operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Truepenny", "version": version(), "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": dict(paths),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "schemas": _schemas(),
        },
    }


def _operation(operation: Operation) -> Json:
    described: Json = {
        "operationId": _operation_id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.description:
        described["description"] = operation.description
    if operation.body:
        content = {"schema": _reference(operation.body), "example": operation.example}
        described["requestBody"] = {"required": True, "content": {JSON: content}}
    if operation.is_open:
        described["security"] = []
    return described


def _operation_id(operation: Operation) -> str:
    words = operation.path.removeprefix("/v1").replace("{", "").replace("}", "").split("/")
    return "_".join([operation.method, *filter(None, words)])


def _parameters(operation: Operation) -> list[Json]:
    in_path = [
        {
            "name": step.strip("{}"),
            "in": "path",
            "required": True,
            "schema": _SYMBOL if step == "{symbol}" else _ID,
        }
        for step in operation.path.split("/")
        if step.startswith("{")
    ]
    in_query = _query_parameters(operation.query) if operation.query else []
    headers = (*operation.headers, "X-Request-Id")
    return [*in_path, *in_query, *({"$ref": f"#/components/parameters/{it}"} for it in headers)]


def _query_parameters(query: type[Query]) -> list[Json]:
    schema = query.model_json_schema(schema_generator=_Plain)
    required = schema.get("required", ())
    return [
        _query_parameter(name, dict(described), required=name in required)
        for name, described in schema["properties"].items()
    ]


def _query_parameter(name: str, schema: Json, *, required: bool) -> Json:
    description = schema.pop("description", "")
    # An optional parameter is left out, never null.
    for alternative in schema.pop("anyOf", ()):
        if alternative != {"type": "null"}:
            schema = {**schema, **alternative}
            schema.pop("default", None)
    schema.pop("description", None)
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema,
    }


def _responses(operation: Operation) -> Json:
    counted = RATE_HEADERS if operation.is_counted else ()
    responses = {str(status): _answer(it, counted) for status, it in operation.answers.items()}
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in operation.all_problems:
        by_status[TABLE[code][0]].append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = _problem(status, codes, counted)
    return responses


def _answer(answer: Success, counted: tuple[str, ...]) -> Json:
    described: Json = {
        "description": answer.description,
        "headers": _headers(*answer.headers, *counted),
    }
    if answer.schema:
        content = {"schema": _reference(answer.schema), "example": answer.example}
        described["content"] = {JSON: content}
    return described


def _problem(status: int, codes: list[str], counted: tuple[str, ...]) -> Json:
    extra = {
        401: ("WWW-Authenticate", *RATE_HEADERS),
        429: ("Retry-After", *RATE_HEADERS),
        503: ("Retry-After",),
    }.get(status, ())
    return {
        "description": " · ".join(f"`{code}`" for code in codes),
        "headers": _headers(*extra, *counted),
        "content": {
            PROBLEM_JSON: {
                "schema": _reference(ProblemDocument),
                "examples": {code: {"value": _example(code)} for code in codes},
            }
        },
    }


def _example(code: str) -> ProblemDocument:
    title = TABLE[code][1]
    transfer_id = TRANSFER if code in FAILURES else None
    return Problem(code, f"{title}.", transfer_id=transfer_id).as_json(request_id="0f8e")


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def _reference(schema: type[Any]) -> Json:
    return {"$ref": _SCHEMAS + schema.__name__}


def _schemas() -> Json:
    described: list[type[Any]] = [ProblemDocument, NewBatchItem]
    for operation in OPERATIONS:
        described += [operation.body] if operation.body else []
        described += [answer.schema for answer in operation.answers.values() if answer.schema]
    _, found = TypeAdapter.json_schemas(
        [(each.__name__, "validation", TypeAdapter(each)) for each in dict.fromkeys(described)],
        ref_template=_SCHEMAS + "{model}",
        schema_generator=_Plain,
    )
    schemas: Json = found["$defs"]
    schemas["NewBatch"]["properties"]["transfers"]["items"] = _reference(NewBatchItem)
    return schemas


class _Plain(GenerateJsonSchema):
    """Schemas of objects with exactly their members, without titles that repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - overrides
        return False

    def typed_dict_schema(self, schema: TypedDictSchema) -> Json:
        return super().typed_dict_schema(schema) | {"additionalProperties": False}
