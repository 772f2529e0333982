"""Error reports from our pages: logged and passed on to Sentry, not stored."""

from __future__ import annotations

from flask import Blueprint, Response, request
from structlog.contextvars import unbind_contextvars

from api.http.validation import parse_body
from api.ops.browser_reports import BODY_LIMIT, ClientError, require_own_page
from api.services import services
from monitoring import sentry
from monitoring.logs import get_logger
from monitoring.metrics.catalogue import count_client_error
from monitoring.sentry.browser_errors import BrowserError

log = get_logger(__name__)


def blueprint() -> Blueprint:
    """Return the route of error reports. It needs no key: a page may fail before it has one."""
    routes = Blueprint("client_errors", __name__)
    routes.post("/client-errors")(create)
    return routes


def create() -> Response:
    """Take a report. Reports of the same error are not merged: each is logged and counted."""
    require_own_page(request)
    services().report_limit.count()
    report = BrowserError(**parse_body(ClientError, limit=BODY_LIMIT).model_dump())
    unbind_contextvars("request_id")  # this line names the request that failed on the page
    log.warning("client_error", **report.fields())
    count_client_error(report.page, report.panel)
    sentry.send_browser_error(report.event())
    response = Response(status=204)
    del response.headers["Content-Type"]  # there is no content
    return response
