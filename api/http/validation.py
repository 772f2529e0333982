"""Validation: checks bodies and queries, and names each wrong field in a problem."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final, TypeVar

from flask import request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from api.http.body import BODY_LIMIT, read_body
from api.http.headers import require_json_body
from api.http.problems import Problem, invalid_fields
from api.http.strict_json import parse_json
from api.schemas.requests import Body, NoQuery, Nothing, Query

AnyBody = TypeVar("AnyBody", bound=Body)
AnyQuery = TypeVar("AnyQuery", bound=Query)

MAX_ERRORS = 20
_MAX_POINTER_LENGTH = 200

# pydantic writes its messages for authors of models; these are for clients.
_PHRASES: Final = {
    "missing": "is required",
    "extra_forbidden": "is unknown",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be an array",
    "model_type": "must be an object",
    "literal_error": "must be one of {expected}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} element",
    "too_long": "must have at most {max_length} elements",
}


def parse_body(model: type[AnyBody], *, limit: int = BODY_LIMIT) -> AnyBody:
    """Read, parse and check the request's body.

    limit: how many bytes it may have at most.
    Raises: Problem: unsupported_media_type, too_large or invalid_request.
    """
    require_no_query()
    require_json_body(request)
    return check(model, parse_json(read_body(request.environ, limit=limit)))


def require_no_body() -> None:
    """Accept no body, or an empty object. Raises: Problem invalid_request: for any other."""
    require_no_query()
    body = read_body(request.environ, limit=BODY_LIMIT)
    if body:
        require_json_body(request)
        check(Nothing, parse_json(body))


def check(
    model: type[AnyBody], document: Any, *, prefix: str = "", max_errors: int = MAX_ERRORS
) -> AnyBody:
    """Check a parsed document.

    prefix: the JSON pointer of the document within the body.
    max_errors: how many errors are shown at most.
    Raises: Problem invalid_request: with a JSON pointer to each field that is wrong.
    """
    if isinstance(document, dict) and len(document) > len(model.model_fields) + MAX_ERRORS:
        # pydantic would build an error for each unknown field, which takes a kilobyte.
        unknown = islice((name for name in document if name not in model.model_fields), max_errors)
        raise invalid_fields(
            [(_pointer(prefix, name), _PHRASES["extra_forbidden"]) for name in unknown]
        )
    try:
        return model.model_validate(document)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:max_errors]
        raise invalid_fields(
            [(_pointer(prefix, *each["loc"]), _phrase(each)) for each in found]
        ) from error


def parse_query(model: type[AnyQuery]) -> AnyQuery:
    """Check the request's query string.

    Raises: Problem invalid_request: when a parameter is unknown, repeated or wrong.
    """
    values: dict[str, str | list[str]] = {}
    for name, found in request.args.lists():
        if not all(map(str.isprintable, found)):  # such as NUL, or an unpaired surrogate
            raise _invalid_parameter(name, "has characters that cannot be printed")
        if name in model.repeatable:
            values[name] = found
        elif len(found) == 1:
            values[name] = found[0]
        else:
            raise _invalid_parameter(name, "is given more than once")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _invalid_parameter(str(first["loc"][0]), _phrase(first)) from error


def require_no_query() -> None:
    """Raises: Problem invalid_request: when there is a query string."""
    if request.query_string:
        parse_query(NoQuery)


def _pointer(prefix: str, *steps: str | int) -> str:
    escaped = [str(step).replace("~", "~0").replace("/", "~1") for step in steps]
    pointer = "".join([prefix, *("/" + step for step in escaped)])
    # The name of an unknown field may be a megabyte long; then point at its object.
    return pointer if len(pointer) <= _MAX_POINTER_LENGTH else prefix


def _phrase(error: ErrorDetails) -> str:
    phrase = _PHRASES.get(error["type"])
    return error["msg"] if phrase is None else phrase.format(**error.get("ctx", {}))


def _invalid_parameter(name: str, detail: str) -> Problem:
    shown = name if len(name) <= _MAX_POINTER_LENGTH and name.isprintable() else "A parameter"
    return Problem("invalid_request", f"{shown} {detail}.")
