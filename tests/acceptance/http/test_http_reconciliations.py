"""Reconciliations over HTTP: permissions and answers of beginning and reading runs."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from ledger.postgres.database import transaction
from testing.http_client import Caller
from tests.acceptance.conftest import WalletPair
from tests.acceptance.http.contract import JSON, TIME, assert_invalid, assert_problem

pytestmark = pytest.mark.acceptance

PATH = "/v1/reconciliations"
FIELDS = [
    "id",
    "trigger",
    "state",
    "started_at",
    "finished_at",
    "progress",
    "transfers_checked",
    "wallets_checked",
    "assets_checked",
    "findings_count",
    "standing_count",
]
FINDING_FIELDS = [
    "kind",
    "wallet",
    "asset",
    "transfer",
    "detail",
    "action",
    "before",
    "after",
    "at",
]


@pytest.fixture(autouse=True)
def ended(api_engine: Engine) -> Iterator[None]:
    """Begin with no runs. No worker scans here, because other tests' wallets share the database."""
    end_all(api_engine)
    yield
    end_all(api_engine)


def end_all(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(
            text("""UPDATE reconciliations SET state = 'finished', finished_at = now()
                    WHERE state = 'running'""")
        )


def test_a_run_is_begun_with_202_and_its_address(admin: Caller) -> None:
    answer = admin.post(PATH)
    run = answer.json()
    assert (answer.status_code, answer.headers["Content-Type"]) == (202, JSON)
    assert answer.headers["Location"] == f"{PATH}/{run['id']}"
    assert list(run) == FIELDS
    assert (run["trigger"], run["state"], run["finished_at"]) == ("operator", "running", None)
    assert (run["wallets_checked"], run["findings_count"]) == (0, 0)
    assert (run["progress"], run["transfers_checked"]) == (0, 0)
    assert re.fullmatch(TIME, run["started_at"])
    assert admin.get(answer.headers["Location"]).json() == {**run, "findings": []}


@pytest.mark.parametrize("body", [None, {}])
def test_while_a_run_is_under_way_it_is_the_answer(
    admin: Caller, body: dict[str, str] | None
) -> None:
    first = admin.post(PATH, body)
    second = admin.post(PATH, body)
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json() == first.json()
    assert second.headers["Location"] == first.headers["Location"]


def test_a_run_lists_its_findings(
    admin: Caller, api_engine: Engine, wallet_pair: WalletPair
) -> None:
    run = admin.post(PATH).json()
    with transaction(api_engine) as connection:
        connection.execute(
            text("""INSERT INTO reconciliation_findings (reconciliation_id, kind, wallet_id,
                    detail, action, before, after)
                    VALUES (:run, 'projection_wrong', :wallet, 'Wrong.', 'rebuilt',
                            '{"balance": "1.00"}', '{"balance": "2.00"}'),
                           (:run, 'asset_not_zero', NULL, 'Wrong.', 'alarmed', NULL, NULL)"""),
            {"run": uuid.UUID(run["id"]), "wallet": wallet_pair.source.id},
        )
    rebuilt, alarmed = admin.get(f"{PATH}/{run['id']}").json()["findings"]
    assert list(rebuilt) == list(alarmed) == FINDING_FIELDS
    assert rebuilt["wallet"] == str(wallet_pair.source.id)
    assert (rebuilt["before"], rebuilt["after"]) == ({"balance": "1.00"}, {"balance": "2.00"})
    assert (alarmed["before"], alarmed["wallet"], alarmed["transfer"]) == (None, None, None)
    assert "findings" not in admin.get(f"{PATH}?limit=1").json()["data"][0]


def test_runs_are_listed_newest_first_from_page_to_page(admin: Caller, api_engine: Engine) -> None:
    ids = []
    for _ in range(3):
        ids.append(admin.post(PATH).json()["id"])
        end_all(api_engine)
    first = admin.get(f"{PATH}?limit=2").json()
    second = admin.get(f"{PATH}?limit=2&cursor={first['next_cursor']}").json()
    assert [run["id"] for run in first["data"] + second["data"]][:3] == ids[::-1]


def test_only_an_admin_begins_or_reads_them(admin: Caller, client: Caller) -> None:
    place = admin.post(PATH).headers["Location"]
    for method, path in (("POST", PATH), ("GET", PATH), ("GET", place)):
        assert_problem(client(method, path), 403, "forbidden")
    nobody = Caller(admin.port)
    assert_problem(nobody.post(PATH), 401, "unauthenticated")


def test_unknown_runs_and_unknown_parameters_are_refused(admin: Caller) -> None:
    assert_problem(admin.get(f"{PATH}/{uuid.uuid4()}"), 404, "not_found")
    assert_problem(admin.get(f"{PATH}/last"), 404, "not_found")
    assert_problem(admin("DELETE", PATH), 405, "method_not_allowed")
    assert_invalid(admin.post(PATH, {"full": True}), pointer="/full")
    assert_invalid(admin.post(f"{PATH}?full=1"))
    assert_invalid(admin.get(f"{PATH}?limit=0"))
    assert_invalid(admin.get(f"{PATH}?cursor=d2FsbGV0czox"))
