"""What may leave for Sentry: everything that is sent is built anew here, from a list.

Guarantees that a member of an event which is not named here does not leave, whoever put it there:
no request bodies, headers, cookies, queries, users, addresses of clients, local variables,
parameters or arguments. Of the texts of exceptions only those leave that are ours, or that the
interpreter composes of names in our code; the log has the others. What passes is scrubbed
all the same (`monitoring.redaction`).

`server_name` stays: it tells which machine or container, which an operator has to know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from monitoring.redaction import scrub, scrub_path

Json = dict[str, Any]

WITHHELD: Final = "(the log has the text)"
MAX_EXCEPTIONS: Final = 10

TAGS: Final = frozenset(
    {
        "batch_id",
        "entry",
        "error",
        "kind",
        "method",
        "page",
        "panel",
        "program",
        "queue",
        "request_id",
        "sqlstate",
        "state",
        "step",
        "task",
        "transfer_id",
    }
)
"""What may be told of an event in words, by the names that fields have in the log."""
COUNTS: Final = frozenset(
    {"count", "dropped_before", "failures", "halves", "requests", "skipped", "times"}
)
"""What may be told of it in numbers. None of them is an amount, a balance or a limit."""

_EVENT: Final = (
    *("event_id", "type", "timestamp", "start_timestamp", "platform", "level", "logger"),
    *("environment", "server_name"),
)
_CHECK_IN: Final = (
    *("type", "event_id", "timestamp", "check_in_id", "monitor_slug", "status", "duration"),
    *("monitor_config", "environment", "server_name"),
)
_TRACE: Final = ("trace_id", "span_id", "parent_span_id", "op", "status", "origin")
_SAMPLING: Final = (
    *("trace_id", "public_key", "sample_rate", "sample_rand", "sampled"),
    *("environment", "release", "transaction"),
)
_TRACE_DATA: Final = (
    *("http.request.method", "http.response.status_code"),
    *("messaging.message.id", "messaging.destination.name", "messaging.message.retry.count"),
)
_MECHANISM: Final = ("type", "handled", "exception_id", "parent_id", "source")
_FRAME: Final = ("function", "module", "filename", "lineno", "colno", "in_app")
_CODE: Final = ("pre_context", "context_line", "post_context")
"""Lines of our own code, which have no data in them."""
_COMPOSED_OF_NAMES: Final = frozenset(
    {
        "AttributeError",
        "ImportError",
        "ModuleNotFoundError",
        "NameError",
        "NotImplementedError",
        "RecursionError",
        "TypeError",
        "UnboundLocalError",
        "ZeroDivisionError",
    }
)
_DRAWN: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EVENT_NAME: Final = re.compile(r"[a-z_]{1,64}")
_PLACE: Final = re.compile(r"[A-Za-z_][\w /.{}-]{0,99}", re.ASCII)
_SQLSTATE: Final = re.compile(r"\(([0-9A-Z]{5})\)\.?$")


def allowed_event(event: Json, _hint: Any) -> Json | None:
    """Return what may leave of an error or a check-in; None when it is neither."""
    if event.get("type") == "check_in":
        return _picked(event, _CHECK_IN) | _release(event) | _contexts(event)
    if event.get("type") is not None:
        return None
    allowed = _described(event)
    if event.get("platform") == "javascript":
        allowed["fingerprint"] = [scrub(str(each)) for each in event.get("fingerprint", ())]
        allowed["request"] = {"url": scrub_path(str(event.get("request", {}).get("url", "/")))}
    exceptions = event.get("exception", {}).get("values", ())[-MAX_EXCEPTIONS:]
    if exceptions:
        allowed["exception"] = {"values": [_exception(it, event) for it in exceptions]}
        allowed["tags"] |= _sqlstate(exceptions)
    message = event.get("logentry", {}).get("message")
    if message:
        allowed["logentry"] = {"message": scrub(message, max_length=200)}
    breadcrumbs = event.get("breadcrumbs", {}).get("values", ())
    allowed["breadcrumbs"] = {"values": [_breadcrumb(it) for it in breadcrumbs]}
    return allowed


def allowed_transaction(event: Json, _hint: Any) -> Json:
    """Return what may leave of a transaction. Spans within it are none of ours, and stay."""
    return {
        **_described(event),
        "transaction_info": _picked(event.get("transaction_info", {}), ("source",)),
        "spans": [],
    }


def tags_of(fields: Mapping[str, object]) -> dict[str, str]:
    """Return what may be told in words of the fields of an event."""
    return {name: _tag(fields[name]) for name in TAGS & fields.keys() if fields[name] is not None}


def counts_of(fields: Mapping[str, object]) -> dict[str, int]:
    """Return what may be told in numbers of the fields of an event."""
    found = {name: fields[name] for name in COUNTS & fields.keys()}
    return {name: value for name, value in found.items() if type(value) is int}


def _described(event: Json) -> Json:
    """What errors and transactions have in common."""
    return {
        **_picked(event, _EVENT),
        **_release(event),
        **_contexts(event),
        **{name: event[name] for name in ("transaction",) if _PLACE.fullmatch(event.get(name, ""))},
        "tags": tags_of(event.get("tags", {})),
        "extra": counts_of(event.get("extra", {})),
        # Sentry would take the address that a browser's error comes from for a person's.
        "sdk": _picked(event.get("sdk", {}), ("name", "version"))
        | {"settings": {"infer_ip": "never"}},
    }


def _picked(source: Mapping[str, Any], names: tuple[str, ...]) -> Json:
    return {name: source[name] for name in names if source.get(name) is not None}


def _release(event: Json) -> Json:
    return {"release": event["release"]} if event.get("release") else {}


def _contexts(event: Json) -> Json:
    found = event.get("contexts", {}).get("trace", {})
    if not found.get("op"):
        # Outside a trace the SDK makes one up for each thread, which would tie together what
        # has nothing to do with each other.
        return {}
    trace = _picked(found, _TRACE)
    data = _picked(found.get("data", {}), _TRACE_DATA)
    sampling = _picked(found.get("dynamic_sampling_context") or {}, _SAMPLING)
    if data:
        trace["data"] = data
    if sampling:  # the SDK takes it out again, into the envelope
        trace["dynamic_sampling_context"] = sampling
    return {"contexts": {"trace": trace}} if trace else {}


def _exception(found: Json, event: Json) -> Json:
    frames = (found.get("stacktrace") or {}).get("frames", ())
    in_browser = event.get("platform") == "javascript"
    text = str(found.get("value", ""))
    allowed = _picked(found, ("module",)) | {
        "type": scrub(str(found.get("type")), max_length=100),
        "value": scrub(text) if in_browser else _words(found, text.partition("\n")[0]),
        "mechanism": _picked(found.get("mechanism") or {}, _MECHANISM),
    }
    if frames:
        allowed["stacktrace"] = {"frames": [_frame(each) for each in frames]}
    return allowed


def _frame(found: Json) -> Json:
    return _picked(found, (*_FRAME, *_CODE) if found.get("in_app") else _FRAME)


def _words(found: Json, text: str) -> str:
    # Ours are sentences of ours; what was noted on them is in the lines below, and stays here.
    if found.get("module") == "ledger.errors":
        return scrub(text)
    if found.get("module") in (None, "builtins") and found.get("type") in _COMPOSED_OF_NAMES:
        return scrub(text)
    return WITHHELD


def _sqlstate(exceptions: list[Json]) -> dict[str, str]:
    """PostgreSQL's own words, with which `ledger.postgres.database` ends its messages."""
    for found in exceptions:
        said = _SQLSTATE.search(str(found.get("value", "")).partition("\n")[0])
        if said and found.get("module") == "ledger.errors":
            return {"sqlstate": said[1]}
    return {}


def _breadcrumb(found: Json) -> Json:
    message = str(found.get("message", ""))
    data = found.get("data") or {}
    return {
        **_picked(found, ("timestamp", "category", "level")),
        "message": message if _EVENT_NAME.fullmatch(message) else "",
        "data": {**tags_of(data), **counts_of(data)},
    }


def _tag(value: object) -> str:
    text = str(value)
    return text if _DRAWN.fullmatch(text) else scrub(text, max_length=100)
