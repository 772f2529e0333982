"""A client and two funded wallets for the first steps, made once through our own API.

What was made is kept in DATA_DIR and found again; when it no longer works (another database,
say), new ones are made.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from stack.demo.api_client import Api, ApiError
from stack.errors import StackError
from stack.servers.kept_values import KeptValues

ASSET = "USD"
_STEP = Decimal("25.00")
_FUNDS = "1000.00"
_SETTLED_WITHIN_S = 60.0
_FILE = "demo.json"


@dataclass(frozen=True)
class Demo:
    """The demo client's key, and the two wallets that are its own."""

    api_key: str = field(repr=False)
    outside: str
    source: str
    destination: str


def ensure_demo(admin: Api, kept_values: KeptValues, *, pause: Callable[[float], None]) -> Demo:
    """The demo client with two wallets, both with something in them. Harmless to repeat.

    Raises: StackError: when the API refuses, or the funds do not arrive.
    """
    try:
        demo = _kept(admin, kept_values) or _make(admin, kept_values)
        for wallet in (demo.source, demo.destination):
            _fund(admin, demo, wallet, pause)
    except (ApiError, OSError) as error:
        raise StackError(f"the demo wallets could not be made: {error}") from error
    return demo


def curl_line(api: Api, demo: Demo) -> str:
    """A transfer between the two wallets, with a key that was never used."""
    body = {
        "source": demo.source,
        "destination": demo.destination,
        "amount": str(_STEP),
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
    """The demo of an earlier run, if the API still knows it."""
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
    # Without a limit of its own, a tour of a few minutes would run into the default one.
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
    """Bring money from the outside, unless the wallet can still pay for the printed line."""
    if Decimal(admin.get(f"/v1/wallets/{wallet}")["available"]) >= _STEP:
        return
    transfer = admin.post(
        "/v1/transfers",
        {"source": demo.outside, "destination": wallet, "amount": _FUNDS, "asset": ASSET},
        Idempotency_Key=f"demo-{uuid.uuid4()}",
        Prefer="wait=5",
    )
    deadline = time.monotonic() + _SETTLED_WITHIN_S
    while transfer["state"] != "committed":
        if time.monotonic() > deadline:
            raise StackError(f"the demo's funds are still {transfer['state']}: see the logs")
        pause(0.2)
        transfer = _transfer(admin, transfer["id"])


def _transfer(admin: Api, id: str) -> dict[str, Any]:
    return admin.get(f"/v1/transfers/{id}")
