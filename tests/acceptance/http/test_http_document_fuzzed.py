"""The OpenAPI document against the API: requests made from it, right and wrong ones.

Whatever is sent, the answer is one that the document describes, with its content, and never a
server error. `schemathesis` makes the requests.
"""

from __future__ import annotations

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.openapi.document import build_document
from testing.http_client import Caller
from tests.acceptance.conftest import WalletPair

SCHEMA = schemathesis.openapi.from_dict(build_document())
OPERATIONS = {each.ok().label: each.ok() for each in SCHEMA.get_all_operations()}
EXAMPLES = 10
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def session() -> requests.Session:
    return requests.Session()


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_one_that_the_document_describes(
    admin: Caller,
    stranger: Caller,
    wallet_pair: WalletPair,
    session: requests.Session,
    label: str,
    mode: GenerationMode,
) -> None:
    """Half of the requests name a wallet or client that there is, but none that others use."""
    created = admin.post("/v1/clients", {"name": "fuzzed", "rate_limit": "none"}).json()
    there_is = {"wallet_id": str(wallet_pair.source.id), "client_id": created["id"]}
    headers = {"Authorization": f"Bearer {admin.api_key}"}

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],  # what it finds is printed; to shrink it takes minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(case=OPERATIONS[label].as_strategy(mode), is_there=st.booleans())
    def fuzz(case: Any, *, is_there: bool) -> None:
        if is_there:
            named = case.path_parameters or {}
            case.path_parameters = named | {n: v for n, v in there_is.items() if n in named}
        case.headers = {**(case.headers or {}), **headers}
        url = f"http://127.0.0.1:{admin.port}"
        answer = case.call(base_url=url, session=session, timeout=30)
        case.validate_response(answer, checks=CHECKS)

    fuzz()
