"""Operation by which pages report their errors."""

from __future__ import annotations

from typing import Final

from api.openapi.operations import Operation, Success
from api.ops.browser_reports import LIMIT_PER_ADDRESS, ClientError

EXAMPLE: Final = {
    "page": "wallet",
    "panel": "transfers",
    "kind": "render",
    "name": "TypeError",
    "message": "Cannot read properties of undefined (reading 'state')",
    "stack": "TypeError: Cannot read …\n    at row (https://pay.example/assets/wallet.js:10:15)",
    "url": "/",
    "request_id": None,
    "count": 1,
}

CLIENT_ERRORS: Final = (
    Operation(
        method="post",
        path="/client-errors",
        tag="pages",
        summary="Report an error that a page of ours met",
        description="For the pages served here: a browser that has another one open is "
        f"refused. Logged and passed on without secrets, amounts and addresses, and not stored. "
        f"Limited to {LIMIT_PER_ADDRESS} per address. At most 16 KiB.",
        body=ClientError,
        example=EXAMPLE,
        is_open=True,
        answers={204: Success(description="It was heard.")},
        problems=("invalid_request", "forbidden", "rate_limited", "internal_error"),
    ),
)
