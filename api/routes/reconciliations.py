"""Reconciliations: begins runs of the consistency scan, and shows runs and findings."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response

from api.auth.api_keys import admin
from api.http.cursors import PagedList
from api.http.responses import json_response
from api.http.validation import parse_query, require_no_body, require_no_query
from api.schemas.reconciliations import (
    ReconciliationList,
    reconciliation_answer,
    reconciliation_detail,
)
from api.schemas.requests import PageQuery
from api.services import services
from ledger.reconciliation import runs


def blueprint(prefix: str) -> Blueprint:
    """Return the routes below /reconciliations."""
    routes = Blueprint("reconciliations", __name__, url_prefix=f"{prefix}/reconciliations")
    routes.get("")(index)
    routes.post("")(begin)
    routes.get("/<uuid:reconciliation_id>")(show)
    return routes


def index() -> Response:
    """List runs, newest first."""
    admin()
    page = parse_query(PageQuery)
    listed = PagedList("reconciliations", page)
    before = listed.place_by_id()
    with services().database.autocommit() as connection:
        found = runs.list_runs(connection, limit=page.limit + 1, before=before)
    data = found[: page.limit]
    more = len(found) > page.limit
    cursor = listed.cursor_after(data[-1].started_at, data[-1].id) if more else None
    answers = [reconciliation_answer(run) for run in data]
    return json_response(ReconciliationList(data=answers, next_cursor=cursor))


def begin() -> Response:
    """Begin a run, unless one is under way."""
    admin()
    require_no_body()
    with services().database.transaction() as connection:
        run, is_new = runs.begin(connection, "operator")
    # After the commit. It is a hint: if it is lost, beat's next one continues the run.
    services().reconcile()
    location = {"Location": f"/v1/reconciliations/{run.id}"}
    return json_response(reconciliation_answer(run), 202 if is_new else 200, location)


def show(reconciliation_id: UUID) -> Response:
    """Show a run with its findings."""
    admin()
    require_no_query()
    with services().database.autocommit() as connection:
        run = runs.get(connection, reconciliation_id)
        found = runs.findings_of(connection, reconciliation_id)
    return json_response(reconciliation_detail(run, found))
