"""Demo wallets: a client and two funded wallets, made once through our own API.

They are kept in DATA_DIR and used again at the next start. When they no longer work (with another
database, for example), new ones are made.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal

from stack.demo.api_client import Api, ApiError
from stack.errors import StackError
from stack.servers.kept_values import KeptValues

ASSET = "USD"
_AMOUNT = Decimal("25.00")
_FUNDS = "1000.00"
_SETTLED_WITHIN_S = 60.0
_FILE = "demo.json"


@dataclass(frozen=True)
class Demo:
    """The demo client's key, its two wallets, and the external wallet that funds them."""

    api_key: str = field(repr=False)
    outside: str
    source: str
    destination: str


def ensure_demo(admin: Api, kept_values: KeptValues, *, pause: Callable[[float], None]) -> Demo:
    """Return the demo client and its two funded wallets. Harmless to repeat.

    Raises: StackError: when the API answers with an error, or the funds do not arrive.
    """
    try:
        demo = _kept(admin, kept_values) or _make(admin, kept_values)
        for wallet in (demo.source, demo.destination):
            _fund(admin, demo, wallet, pause)
    except (ApiError, OSError) as error:
        raise StackError(f"the demo wallets could not be made: {error}") from error
    return demo


def curl_line(api: Api, demo: Demo) -> str:
    """Return a command that makes a transfer between the wallets, with a new idempotency key."""
    body = {
        "source": demo.source,
        "destination": demo.destination,
        "amount": str(_AMOUNT),
        "asset": ASSET,
    }
    return " \\\n    ".join(
        (
            f"curl -sS {api.url}/v1/transfers",
            f"-H 'Authorization: Bearer {demo.api_key}'",
            "-H 'Content-Type: application/json' -H 'Prefer: wait=5'",
            f"-H 'Idempotency-Key: {uuid.uuid4()}'",
            f"-d '{json.dumps(body)}'",
        )
    )


def _kept(admin: Api, kept_values: KeptValues) -> Demo | None:
    """Return the demo of an earlier run, or None if the API no longer knows it."""
    text = kept_values.read(_FILE)
    if text is None:
        return None
    demo = Demo(**json.loads(text))
    client = replace(admin, key=demo.api_key)
    try:
        wallets = [client.get(f"/v1/wallets/{id}") for id in (demo.source, demo.destination)]
    except ApiError as error:
        if error.status in (401, 404):
            return None
        raise
    return demo if all(wallet["status"] == "active" for wallet in wallets) else None


def _make(admin: Api, kept_values: KeptValues) -> Demo:
    # With the default rate limit, a tour of a few minutes would exceed it.
    client = admin.post("/v1/clients", {"name": "demo", "rate_limit": "none"})
    outside = admin.post(
        "/v1/wallets", {"asset": ASSET, "kind": "external", "name": "the outside world"}
    )
    demo_client = replace(admin, key=client["api_key"])
    source, destination = (
        demo_client.post("/v1/wallets", {"asset": ASSET, "name": name}) for name in ("one", "two")
    )
    demo = Demo(client["api_key"], outside["id"], source["id"], destination["id"])
    kept_values.write(_FILE, json.dumps(asdict(demo)))
    return demo


def _fund(admin: Api, demo: Demo, wallet: str, pause: Callable[[float], None]) -> None:
    """Fund the wallet, unless it has enough for the transfer of the printed command."""
    if Decimal(admin.get(f"/v1/wallets/{wallet}")["available"]) >= _AMOUNT:
        return
    transfer = admin.post(
        "/v1/transfers",
        {"source": demo.outside, "destination": wallet, "amount": _FUNDS, "asset": ASSET},
        Idempotency_Key=f"demo-{uuid.uuid4()}",
        Prefer="wait=5",
    )
    deadline_s = time.monotonic() + _SETTLED_WITHIN_S
    while transfer["state"] != "committed":
        if time.monotonic() > deadline_s:
            raise StackError(f"the demo's funds are still {transfer['state']}: see the logs")
        pause(0.2)
        transfer = admin.get(f"/v1/transfers/{transfer['id']}")
