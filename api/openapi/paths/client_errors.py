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
        summary="Report an error of one of our pages",
        description="Only for the pages of this server: requests that a browser sends from another "
        "site are refused. Reports are logged and passed on without secrets, amounts and "
        f"addresses, and not stored. At most {LIMIT_PER_ADDRESS} per address, and 16 KiB each.",
        body=ClientError,
        example=EXAMPLE,
        is_open=True,
        answers={204: Success(description="The report was taken.")},
        problems=("invalid_request", "forbidden", "rate_limited", "internal_error"),
    ),
)
