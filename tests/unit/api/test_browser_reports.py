"""Browser error reports: accepted without any server, validated and rate-limited."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.app import create_app
from api.openapi.paths.client_errors import EXAMPLE
from api.ops.browser_reports import MAX_PER_PROCESS, ReportLimit
from api.rate_limits.counters import CacheCounters, Counters, MemoryCounters
from tests.unit.api.test_api_application import SETTINGS, make_services

REQUEST_ID = "0f8e" * 8
REPORT: dict[str, Any] = {
    "page": "wallet",
    "panel": "send-money",
    "kind": "rejection",
    "name": "TypeError",
    "message": "alice@example.com could not pay 12.50 with tp_abcdef",
    "stack": "TypeError: alice@example.com\n    at pay (https://pay.example/assets/w.js?k=1:10:15)",
    "url": "/ops",
    "request_id": REQUEST_ID,
    "count": 3,
}


@pytest.fixture
def page() -> FlaskClient:
    """A browser that talks to an application whose servers are all down."""
    services = make_services()
    return create_app(services).test_client()


def post(page: FlaskClient, report: Any = REPORT, *, at: str = "192.0.2.1", **headers: str) -> Any:
    return page.post(
        "/client-errors",
        data=report if isinstance(report, bytes) else json.dumps(report),
        content_type="application/json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        environ_base={"REMOTE_ADDR": at},
    )


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    found = [record for record in caplog.records if record.message == "client_error"]
    return [record.truepenny_fields for record in found]  # type: ignore[attr-defined]


def test_a_report_is_one_scrubbed_line_of_the_log(
    page: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = post(page)
    assert (answer.status_code, answer.data) == (204, b"")
    assert logged(caplog) == [
        {
            "page": "wallet",
            "panel": "send-money",
            "request_id": REQUEST_ID,
            "kind": "rejection",
            "name": "TypeError",
            "message": "[email] could not pay [number] with [key]",
            "url": "/ops",
            "frames": ["https://pay.example/assets/w.js:10:15"],
            "count": 3,
        }
    ]


def test_optional_fields_may_be_null_or_left_out(
    page: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    needed = {"page": "ops", "kind": "error", "name": "E", "message": "", "count": 1}
    assert post(page, needed).status_code == 204
    assert post(page, EXAMPLE).status_code == 204
    assert logged(caplog)[0] == needed


def test_a_malformed_request_id_is_dropped(
    page: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert post(page, REPORT | {"request_id": "alice-miller"}).status_code == 204
    assert "request_id" not in logged(caplog)[0]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"page": "admin"}, "/page"),
        ({"page": None}, "/page"),
        ({"panel": "Send money"}, "/panel"),
        ({"panel": "x" * 33}, "/panel"),
        ({"panel": ""}, "/panel"),
        ({"kind": "warning"}, "/kind"),
        ({"name": ""}, "/name"),
        ({"name": "Type\nError"}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"message": 7}, "/message"),
        ({"message": "x" * 2001}, "/message"),
        ({"stack": "x" * 12_001}, "/stack"),
        ({"stack": ["at x"]}, "/stack"),
        ({"url": "https://pay.example/"}, "/url"),
        ({"url": "/?key=tp_x"}, "/url"),
        ({"url": "/\x1b"}, "/url"),
        ({"request_id": "two words"}, "/request_id"),
        ({"count": 0}, "/count"),
        ({"count": True}, "/count"),
        ({"count": "3"}, "/count"),
        ({"count": 10**30}, "/count"),
        ({"user": "alice"}, "/user"),
    ],
)
def test_a_field_that_is_wrong_is_pointed_at(
    page: FlaskClient, change: dict[str, Any], pointer: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = post(page, REPORT | change)
    assert_problem(answer, 400, "invalid_request")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert not logged(caplog)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"page": "\\u0000"}'])
def test_what_is_no_report_is_refused(page: FlaskClient, body: bytes) -> None:
    assert_problem(post(page, body), 400, "invalid_request")


def test_a_large_report_is_refused_and_only_json_is_read(page: FlaskClient) -> None:
    assert_problem(post(page, REPORT | {"message": "x" * 16_384}), 413, "too_large")
    answer = page.post("/client-errors", data="{}", content_type="text/plain")
    assert_problem(answer, 415, "unsupported_media_type")
    assert_problem(page.get("/client-errors"), 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_Fetch_Site": "same-origin"}, 204),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "https://behind-a-proxy.example"}, 204),
        ({"Origin": "http://localhost"}, 204),
        ({"Origin": "https://localhost"}, 204),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "none"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[localhost"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
    ],
)
def test_only_our_own_pages_may_report(
    page: FlaskClient, headers: dict[str, str], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert post(page, **headers).status_code == status
    assert bool(logged(caplog)) is (status == 204)


def test_an_address_has_a_limit_of_its_own(
    page: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(60):
        post(page)
    answer = post(page, at="192.0.2.1")
    assert_problem(answer, 429, "rate_limited")
    assert 0 < int(answer.headers["Retry-After"]) <= 61
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert len(logged(caplog)) <= 30
    assert post(page, at="192.0.2.2").status_code == 204


def test_all_addresses_together_have_a_limit_too(
    page: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [post(page, at=f"198.51.100.{n}") for n in range(MAX_PER_PROCESS + 20)]
    assert [it.status_code for it in answers] == [204] * MAX_PER_PROCESS + [429] * 20
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert len(logged(caplog)) == MAX_PER_PROCESS
    [record] = [it for it in caplog.records if it.message == "client_errors_dropped"]
    assert record.levelname == "WARNING"


def test_after_a_minute_the_limit_is_free_again() -> None:
    now_s = 0.0
    counters = Counters(
        CacheCounters(SETTINGS.cache_url, key_prefix=SETTINGS.key_prefix),
        MemoryCounters(processes=1),
    )
    limit = ReportLimit(counters, clock=lambda: now_s)
    assert [limit._wait_s() > 0 for _ in range(MAX_PER_PROCESS + 1)] == [
        *[False] * MAX_PER_PROCESS,
        True,
    ]
    now_s = 60.0
    assert limit._wait_s() == 0


def assert_problem(answer: TestResponse, status: int, code: str) -> None:
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (status, code)
