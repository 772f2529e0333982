"""Clients of a storm: threads that send what the plan says, and record what comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import requests

from ledger.clients import Client
from ledger.ids import transfer_id
from ledger.money import format_amount
from ledger.wallets import Wallet
from stack.servers.ports import LOOPBACK
from testing.storm.history import Recorder
from testing.storm.plan import Operation
from tools.check_history import classify

TIMEOUT_S = (3.0, 10.0)
"""To connect, and for the answer: longer than the API lets any request take."""
_BACK_OFF_S = 0.3


@dataclass
class Account:
    """A client of the API, as a thread of the storm knows it."""

    name: str
    id: str
    api_key: str
    key_id: str
    owner: Client | None = None
    ended_key: tuple[str, str] | None = None


@dataclass
class Process:
    """One thread: it waits for each answer before it sends the next request."""

    number: int
    account: Account
    port: int
    recorder: Recorder
    wallets: list[Wallet]
    """All customers' wallets, in the order of the plan."""
    session: requests.Session = field(default_factory=requests.Session)
    cursor: str | None = None
    unknown: set[str] = field(default_factory=set)
    """Keys whose last answer left open what happened."""
    is_refused: bool = False
    """Whether the last request got no answer."""

    def run(self, operations: list[Operation], over: threading.Event) -> None:
        """Send what is planned, each at its time or when the one before was answered."""
        began = self.recorder.now()
        for operation in operations:
            if over.wait(max(0.0, began + operation["at"] - self.recorder.now())):
                return
            DOING[operation["do"]](self, operation)
            if self.is_refused:  # as a client that has read what to do after an error
                over.wait(_BACK_OFF_S)

    def send(
        self,
        do: str,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: dict[str, str] | None = None,
        key: tuple[str, str] | None = None,
        **recorded: Any,
    ) -> tuple[str, Any]:
        """Send one request and record it. Returns: its class, and the answer's content."""
        secret, key_id = key or (self.account.api_key, self.account.key_id)
        named = {"process": self.number, "client": self.account.name, "api_key": key_id}
        op = self.recorder.invoke(do=do, **named, **recorded)
        status, answer, more = self.ask(method, path, json, headers or {}, secret)
        self.record(op, status, answer, **more)
        return classify(status, answer), answer

    def ask(
        self, method: str, path: str, json: Any, headers: dict[str, str], secret: str
    ) -> tuple[int | None, Any, dict[str, Any]]:
        """Send one request, and record nothing. Returns: status, content, and what else to say."""
        self.is_refused = False
        try:
            response = self.session.request(
                method,
                f"http://{LOOPBACK}:{self.port}{path}",
                json=json,
                headers={"Authorization": f"Bearer {secret}"} | headers,
                timeout=TIMEOUT_S,
            )
        except requests.RequestException as error:
            self.is_refused = True
            return None, None, {"error": type(error).__name__}
        more = {"replayed": True} if "Idempotent-Replayed" in response.headers else {}
        try:
            answer = response.json() if response.content else None
        except ValueError:
            answer = response.text[:500]
        return response.status_code, answer, more

    def record(self, op: int, status: int | None, answer: Any, **more: Any) -> None:
        type_ = classify(status, answer)
        shown = answer
        if isinstance(answer, dict) and "api_key" in answer:
            shown = {name: value for name, value in answer.items() if name != "api_key"}
        # An answer that is not known is a failure that the checker refuses to believe.
        known = type_ if type_ != "unknown" else "fail"
        self.recorder.write(known, process=self.number, op=op, status=status, answer=shown, **more)
        self.recorder.count(known)
        if more.get("replayed"):
            self.recorder.count("replayed")

    def body(self, item: Operation) -> dict[str, str]:
        """Return the body of a planned transfer, with its key."""
        source, destination = self.wallets[item["source"]], self.wallets[item["destination"]]
        return {
            "key": item["key"],
            "source": str(source.id),
            "destination": str(destination.id),
            "asset": source.asset,
            "amount": format_amount(item["minor"], scale=source.scale),
            "reference": f"{self.account.name}/{item['key']}",
        }

    def own_wallets(self) -> list[str]:
        return [str(each.id) for each in self.wallets if str(each.owner_id) == self.account.id]


def transfer(process: Process, operation: Operation) -> None:
    [item] = operation["items"]
    body = process.body(item)
    sent = {name: value for name, value in body.items() if name != "key"}
    type_, answer = process.send(
        "transfer",
        "POST",
        "/v1/transfers",
        json=sent,
        headers={"Idempotency-Key": body["key"]},
        request=[body],
    )
    _note(process, body["key"], type_, answer)


def batch(process: Process, operation: Operation) -> None:
    bodies = [process.body(item) for item in operation["items"]]
    sent = [
        {"idempotency_key" if name == "key" else name: value for name, value in body.items()}
        for body in bodies
    ]
    type_, answer = process.send(
        "batch", "POST", "/v1/transfers/batch", json={"transfers": sent}, request=bodies
    )
    results = answer["results"] if type_ == "ok" else [{} for _ in bodies]
    for body, result in zip(bodies, results, strict=True):
        error = result.get("error")
        each = classify(error["status"], error) if error else type_
        _note(process, body["key"], each, error or result)


def _note(process: Process, key: str, type_: str, answer: Any) -> None:
    """Count what happened to one transfer."""
    count = process.recorder.count
    if type_ == "info":
        process.unknown.add(key)
        count("unknown")
    elif key in process.unknown:
        process.unknown.discard(key)
        count("replayed after an unknown answer")
    if type_ == "ok":
        count("buffered" if answer.get("state") == "buffered" else "accepted")
        for fault in list(process.recorder.broken):
            count(f"{fault} under load")
    elif type_ == "fail":
        code = str(answer.get("code"))
        named = {"idempotency_key_reused": "refused as reused"}
        count(named.get(code, code))


def rotate(process: Process, _: Operation) -> None:
    """Make another key, use it from now on, and delete the one before."""
    account = process.account
    keys = f"/v1/clients/{account.id}/keys"
    type_, made = process.send("rotate", "POST", keys, json={"name": "storm"})
    if type_ != "ok":
        return
    before = (account.api_key, account.key_id)
    account.api_key, account.key_id = made["api_key"], made["id"]
    path = f"{keys}/{before[1]}"
    type_, _ = process.send("revoke", "DELETE", path, revoked=before[1])
    if type_ == "ok":
        account.ended_key = before


def read(process: Process, operation: Operation) -> None:
    id_ = transfer_id(UUID(process.account.id), operation["key"])
    process.send("read", "GET", f"/v1/transfers/{id_}")


def wallet(process: Process, operation: Operation) -> None:
    process.send("wallet", "GET", f"/v1/wallets/{process.wallets[operation['wallet']].id}")


def wallets(process: Process, operation: Operation) -> None:
    key = process.account.ended_key if operation.get("with_ended_key") else None
    process.send("wallets", "GET", "/v1/wallets?limit=200", key=key)


def snapshot(process: Process, _: Operation) -> None:
    process.send("snapshot", "GET", "/v1/wallets?limit=200")


def pages(process: Process, operation: Operation) -> None:
    """Walk through the newest transfers by cursors, as one operation."""
    account, cursor, seen = process.account, "", list[Any]()
    op = process.recorder.invoke(
        do="list",
        process=process.number,
        client=account.name,
        api_key=account.key_id,
        wallets=process.own_wallets(),
    )
    for _ in range(operation["pages"]):
        path = f"/v1/transfers?limit=20{cursor}"
        status, answer, _more = process.ask("GET", path, None, {}, account.api_key)
        if classify(status, answer) != "ok":
            process.record(op, status, answer)
            return
        seen.append(answer)
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
        time.sleep(operation["pause_s"])
        if operation["pause_s"]:
            process.recorder.count("stale cursor")
    process.record(op, 200, {"pages": seen})
    process.recorder.count("listed")


def poll(process: Process, _: Operation) -> None:
    """Read what is new in the order of recording, until nothing is."""
    while True:
        cursor = f"&cursor={process.cursor}" if process.cursor else ""
        path = f"/v1/transfers?order=recorded&limit=200{cursor}"
        type_, answer = process.send("poll", "GET", path)
        if type_ != "ok":
            return
        process.cursor = answer["next_cursor"]
        process.recorder.count("polled")
        if not answer["data"]:
            return


def change_wallet(process: Process, operation: Operation) -> None:
    chosen = process.wallets[operation["wallet"]].id
    process.send(operation["do"], "POST", f"/v1/wallets/{chosen}/{operation['do']}")


DOING: dict[str, Callable[[Process, Operation], None]] = {
    "transfer": transfer,
    "batch": batch,
    "rotate": rotate,
    "read": read,
    "wallet": wallet,
    "wallets": wallets,
    "snapshot": snapshot,
    "list": pages,
    "poll": poll,
    "freeze": change_wallet,
    "unfreeze": change_wallet,
}
