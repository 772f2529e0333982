"""Media types: JSON in, JSON out, and a clear word about anything else."""

from __future__ import annotations

from flask import Request
from werkzeug.http import parse_options_header

from api.http.problems import Problem

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"


def require_json_accepted(request: Request) -> None:
    """Raises: Problem not_acceptable: when the client wants no kind of JSON."""
    accept = request.headers.get("Accept")
    if not accept or accept in ("*/*", JSON):  # what nearly every client sends
        return
    if request.accept_mimetypes.best_match((JSON, PROBLEM_JSON)) is None:
        raise Problem("not_acceptable", f"Answers are {JSON}; Accept excludes it.")


def require_json_body(request: Request) -> None:
    """Raises: Problem unsupported_media_type: when the body is not said to be JSON in UTF-8."""
    content_type = request.headers.get("Content-Type", "")
    if content_type == JSON:
        return
    media_type, options = parse_options_header(content_type)
    charset = options.pop("charset", "utf-8")
    if media_type.lower() != JSON or charset.lower() != "utf-8" or options:
        raise Problem("unsupported_media_type", f"Content-Type must be {JSON}, in UTF-8.")
