"""Document builder: makes the OpenAPI document from operations, schemas and problem codes."""

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

JsonObject = dict[str, Any]
_SCHEMAS: Final = "#/components/schemas/"
_ID: Final = {"type": "string", "format": "uuid"}
_SYMBOL: Final = {"type": "string", "examples": ["BTCUSDT"]}

DESCRIPTION: Final = """\
Moves money between wallets and never loses a penny.

**Amounts** are decimal strings with at most as many decimals as the asset has; answers show
all of them. **Times** are RFC 3339 in UTC. **Lists** take a `limit`, and a `cursor`: the
`next_cursor` of the previous page, with the filters of that page; with others it is refused.
**Unknown** fields and parameters are errors. **Errors** are RFC 9457 problems; rely on `code`.
**Codes** of errors, failures and events, and states, are listed as enumerations; later versions
may add values, so do not refuse one that you do not know. A
request that is answered 4xx has moved no money; after a 5xx, send it again with the same
`Idempotency-Key`. Every answer has `X-Request-Id`: yours, if you sent one. **Methods** that an
address does not have are answered 405 `method_not_allowed`, with those that it has in `Allow`.
**Limits**: writes are limited per client (`rate_limit`); a batch request counts as one. Transfers
that are newly stored are limited per client too (`item_limit`); there each item of a batch counts,
also one that is rejected, and repeats are free. Failed authentications are limited per address.
The answer to a counted request has `X-RateLimit-*` headers: those of the limit that refused it,
else those of writes.
"""

PARAMETERS: Final[dict[str, JsonObject]] = {
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "Your name for the transfer: one key, one transfer. A repeat with the "
        "same key moves nothing twice. Printable characters, in UTF-8. Every character counts, "
        "quotes too. Send the header once: twice is an error.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
        "example": KEY,
    },
    "Optional-Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Your name for what is made: a repeat with the same key and body makes "
        "nothing new, and is answered 200 with `Idempotent-Replayed: true`. Written as for "
        "transfers. Without it, every request makes another one.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
        "example": KEY,
    },
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`wait=N`: answer when the transfer has ended, or after N seconds, at most "
        f"{MAX_WAIT_S} (RFC 7240). Not applied when too many requests are waiting.",
        "schema": {"type": "string"},
        "example": "wait=10",
    },
    "X-Request-Id": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "Your id for the request, used in answers and logs: up to 128 printable "
        "ASCII characters.",
        "schema": {"type": "string", "maxLength": 128},
    },
}

HEADERS: Final[dict[str, JsonObject]] = {
    "X-Request-Id": {"description": "The request's id.", "schema": {"type": "string"}},
    "Allow": {
        "description": "The methods that the address has.",
        "schema": {"type": "string", "examples": ["GET, HEAD"]},
    },
    "Location": {
        "description": "The address of the object.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {
        "description": "How many seconds to wait before the next request.",
        "schema": {"type": "integer", "minimum": 0},
    },
    LIMIT: {
        "description": "How many requests the limit allows. Only where there is a limit.",
        "schema": {"type": "integer", "minimum": 1},
    },
    REMAINING: {
        "description": "How many requests are left.",
        "schema": {"type": "integer", "minimum": 0},
    },
    RESET: {
        "description": "When the limit starts again, in seconds since 1970 (POSIX time).",
        "schema": {"type": "integer"},
    },
    "Idempotent-Replayed": {
        "description": "Present when the request repeats an earlier one.",
        "schema": {"type": "string", "const": "true"},
    },
    "Preference-Applied": {
        "description": "Present when the answer waited as `Prefer` asked.",
        "schema": {"type": "string", "const": "wait"},
    },
    "WWW-Authenticate": {
        "description": "The scheme in which to send the API key.",
        "schema": {"type": "string", "const": "Bearer"},
    },
}


@cache
def build_document() -> JsonObject:
    """Return the document. Callers share it and must not change it."""
    paths: defaultdict[str, JsonObject] = defaultdict(dict)
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
            # Of no operation: it answers methods that are not described.
            "responses": {"MethodNotAllowed": _problem(405, ["method_not_allowed"], ())},
            "schemas": _schemas(),
        },
    }


def _operation(operation: Operation) -> JsonObject:
    words = operation.path.removeprefix("/v1").replace("{", "").replace("}", "").split("/")
    described: JsonObject = {
        "operationId": "_".join([operation.method, *filter(None, words)]),
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


def _parameters(operation: Operation) -> list[JsonObject]:
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
    key = ("Optional-Idempotency-Key",) if operation.takes_key else ()
    headers = (*operation.headers, *key, "X-Request-Id")
    return [*in_path, *in_query, *({"$ref": f"#/components/parameters/{it}"} for it in headers)]


def _query_parameters(query: type[Query]) -> list[JsonObject]:
    model = query.model_json_schema(schema_generator=_Plain)
    parameters: list[JsonObject] = []
    for name, described in model["properties"].items():
        schema = dict(described)
        description = schema.pop("description", "")
        # An optional parameter is left out, never null.
        for alternative in schema.pop("anyOf", ()):
            if alternative != {"type": "null"}:
                schema |= alternative
                schema.pop("default", None)
        schema.pop("description", None)
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": name in model.get("required", ()),
                "description": description,
                "schema": schema,
            }
        )
    return parameters


def _responses(operation: Operation) -> JsonObject:
    counted = RATE_HEADERS if operation.is_counted else ()
    responses = {str(status): _answer(it, counted) for status, it in operation.answers.items()}
    by_status: defaultdict[int, list[str]] = defaultdict(list)
    for code in operation.all_problems:
        by_status[TABLE[code][0]].append(code)
    for status, codes in sorted(by_status.items()):
        responses[str(status)] = _problem(status, codes, counted)
    return responses


def _answer(answer: Success, counted: tuple[str, ...]) -> JsonObject:
    described: JsonObject = {
        "description": answer.description,
        "headers": _headers(*answer.headers, *counted),
    }
    if answer.schema:
        content = {"schema": _reference(answer.schema), "example": answer.example}
        described["content"] = {JSON: content}
    return described


def _problem(status: int, codes: list[str], counted: tuple[str, ...]) -> JsonObject:
    extra = {
        401: ("WWW-Authenticate", *RATE_HEADERS),
        405: ("Allow",),
        429: ("Retry-After", *RATE_HEADERS),
        503: ("Retry-After",),
    }.get(status, ())
    examples = {}
    for code in codes:
        transfer_id = TRANSFER if code in FAILURES else None
        problem = Problem(code, f"{TABLE[code][1]}.", transfer_id=transfer_id)
        examples[code] = {"value": problem.as_json(request_id="0f8e")}
    return {
        "description": " · ".join(f"`{code}`" for code in codes),
        "headers": _headers(*extra, *counted),
        "content": {
            PROBLEM_JSON: {
                "schema": _reference(ProblemDocument),
                "examples": examples,
            }
        },
    }


def _headers(*names: str) -> JsonObject:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def _reference(schema: type[Any]) -> JsonObject:
    return {"$ref": _SCHEMAS + schema.__name__}


def _schemas() -> JsonObject:
    described: list[type[Any]] = [ProblemDocument, NewBatchItem]
    for operation in OPERATIONS:
        described += [operation.body] if operation.body else []
        described += [answer.schema for answer in operation.answers.values() if answer.schema]
    _, found = TypeAdapter.json_schemas(
        [(each.__name__, "validation", TypeAdapter(each)) for each in dict.fromkeys(described)],
        ref_template=_SCHEMAS + "{model}",
        schema_generator=_Plain,
    )
    schemas: JsonObject = found["$defs"]
    schemas["NewBatch"]["properties"]["transfers"]["items"] = _reference(NewBatchItem)
    return schemas


class _Plain(GenerateJsonSchema):
    """Makes schemas of objects without further members, and without titles."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - overrides
        return False

    def typed_dict_schema(self, schema: TypedDictSchema) -> JsonObject:
        return super().typed_dict_schema(schema) | {"additionalProperties": False}
