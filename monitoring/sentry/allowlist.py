"""Allow-list for Sentry: builds every event that is sent from a list of allowed members.

Guarantees that a member which is not named here is not sent: no request bodies, headers, cookies,
queries, users, client addresses, local variables, parameters or arguments. Exception texts are
only sent if they are ours, or if the interpreter builds them from names in our code; the log has
the others. All texts are redacted as well (`monitoring.redaction`).

`server_name` is sent: an operator must know which machine or container it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from monitoring.redaction import scrub, scrub_path

SentryJson = dict[str, Any]

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
"""Log fields that may be sent as text."""
COUNTS: Final = frozenset(
    {"count", "dropped_before", "failures", "halves", "requests", "skipped", "times"}
)
"""Log fields that may be sent as numbers. None is an amount, a balance or a limit."""

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
"""Lines of our own code, which contain no data."""
_BUILT_FROM_NAMES: Final = frozenset(
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
_RANDOM_ID: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_EVENT_NAME: Final = re.compile(r"[a-z_]{1,64}")
_PLACE: Final = re.compile(r"[A-Za-z_][\w /.{}-]{0,99}", re.ASCII)
_SQLSTATE: Final = re.compile(r"\(([0-9A-Z]{5})\)\.?$")


def allowed_event(event: SentryJson, _hint: Any) -> SentryJson | None:
    """Return the allowed part of an error or a check-in; None if it is neither."""
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


def allowed_transaction(event: SentryJson, _hint: Any) -> SentryJson:
    """Return the allowed part of a transaction, without spans: we create none inside it."""
    return {
        **_described(event),
        "transaction_info": _picked(event.get("transaction_info", {}), ("source",)),
        "spans": [],
    }


def tags_of(fields: Mapping[str, object]) -> dict[str, str]:
    """Return the allowed text fields."""
    texts = {name: str(fields[name]) for name in TAGS & fields.keys() if fields[name] is not None}
    return {
        name: text if _RANDOM_ID.fullmatch(text) else scrub(text, max_length=100)
        for name, text in texts.items()
    }


def counts_of(fields: Mapping[str, object]) -> dict[str, int]:
    """Return the allowed number fields."""
    found = {name: fields[name] for name in COUNTS & fields.keys()}
    return {name: value for name, value in found.items() if type(value) is int}


def _described(event: SentryJson) -> SentryJson:
    """Return the allowed members that errors and transactions share."""
    return {
        **_picked(event, _EVENT),
        **_release(event),
        **_contexts(event),
        **{name: event[name] for name in ("transaction",) if _PLACE.fullmatch(event.get(name, ""))},
        "tags": tags_of(event.get("tags", {})),
        "extra": counts_of(event.get("extra", {})),
        # Else Sentry would store the sender's address as that of a user.
        "sdk": _picked(event.get("sdk", {}), ("name", "version"))
        | {"settings": {"infer_ip": "never"}},
    }


def _picked(source: Mapping[str, Any], names: tuple[str, ...]) -> SentryJson:
    return {name: source[name] for name in names if source.get(name) is not None}


def _release(event: SentryJson) -> SentryJson:
    return {"release": event["release"]} if event.get("release") else {}


def _contexts(event: SentryJson) -> SentryJson:
    found = event.get("contexts", {}).get("trace", {})
    if not found.get("op"):
        # Outside a trace the SDK invents one for each thread, which would connect unrelated events.
        return {}
    trace = _picked(found, _TRACE)
    data = _picked(found.get("data", {}), _TRACE_DATA)
    sampling = _picked(found.get("dynamic_sampling_context") or {}, _SAMPLING)
    if data:
        trace["data"] = data
    if sampling:  # the SDK moves it to the envelope
        trace["dynamic_sampling_context"] = sampling
    return {"contexts": {"trace": trace}} if trace else {}


def _exception(found: SentryJson, event: SentryJson) -> SentryJson:
    frames = (found.get("stacktrace") or {}).get("frames", ())
    in_browser = event.get("platform") == "javascript"
    text = str(found.get("value", ""))
    module, name = found.get("module"), str(found.get("type"))
    if not in_browser:
        # Notes on an exception are in the lines below the first, and may contain anything.
        text = text.partition("\n")[0]
        is_built_from_names = module in (None, "builtins") and name in _BUILT_FROM_NAMES
        if module != "ledger.errors" and not is_built_from_names:
            text = WITHHELD
    allowed = _picked(found, ("module",)) | {
        "type": scrub(name, max_length=100),
        "value": text if text is WITHHELD else scrub(text),
        "mechanism": _picked(found.get("mechanism") or {}, _MECHANISM),
    }
    if frames:
        allowed["stacktrace"] = {"frames": [_frame(each) for each in frames]}
    return allowed


def _frame(found: SentryJson) -> SentryJson:
    return _picked(found, (*_FRAME, *_CODE) if found.get("in_app") else _FRAME)


def _sqlstate(exceptions: list[SentryJson]) -> dict[str, str]:
    """Return the SQLSTATE at the end of a message of `ledger.postgres.database`, as a tag."""
    for found in exceptions:
        match = _SQLSTATE.search(str(found.get("value", "")).partition("\n")[0])
        if match and found.get("module") == "ledger.errors":
            return {"sqlstate": match[1]}
    return {}


def _breadcrumb(found: SentryJson) -> SentryJson:
    message = str(found.get("message", ""))
    data = found.get("data") or {}
    return {
        **_picked(found, ("timestamp", "category", "level")),
        "message": message if _EVENT_NAME.fullmatch(message) else "",
        "data": {**tags_of(data), **counts_of(data)},
    }
