"""The history checker: a sound history passes, and each property has a history that violates it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testing.programs import ROOT
from tools.check_history import PROPERTIES

CHECKER = ROOT / "tools" / "check_history.py"
Line = dict[str, Any]
Break = Callable[[list[Line]], object]


def wallet(id: str, balance: str, kind: str = "customer") -> Line:
    held = {"reserved": "0.00", "incoming": "0.00"}
    return {"id": id, "asset": "USD", "kind": kind, "balance": balance, "available": balance} | held


def body(key: str, amount: str = "1.00", source: str = "A", destination: str = "B") -> Line:
    wallets = {"source": source, "destination": destination, "asset": "USD"}
    return {"key": key, "reference": f"a/{key}", "amount": amount, **wallets}


def transfer(number: int, state: str, content: Line, *, code: str | None = None) -> Line:
    shown = {name: value for name, value in content.items() if name != "key"}
    failure = code and {"code": code, "detail": ""}
    return {
        "id": f"t{number}",
        "created_at": f"12:00:0{number}",
        "state": state,
        "failure": failure,
        **shown,
    }


FUND = body("fund", "5.00", "X", "A")
PAID, POOR, LOST, BATCH = body("paid"), body("poor", "9.00"), body("lost"), body("in-batch")


def request(op: int, at: float, do: str, **fields: Any) -> Line:
    named = {"op": op, "process": 1, "client": "a", "do": do, "api_key": "k1"}
    return {"type": "invoke", "at": at, **named, **fields}


def answer(op: int, at: float, status: int | None, content: Any, type: str = "ok") -> Line:
    return {
        "type": type,
        "at": at,
        "op": op,
        "process": 1,
        "status": status,
        "answer": content,
    }


def sound_history() -> list[Line]:
    """A short storm in which all is well, with every kind of request and of answer."""
    wallets = [wallet("X", "-5.00", "external"), wallet("A", "2.00"), wallet("B", "3.00")]
    ended = [
        transfer(1, "committed", FUND),
        transfer(2, "committed", PAID),
        transfer(3, "rejected", POOR, code="insufficient_funds"),
        transfer(4, "committed", LOST),
        transfer(5, "committed", BATCH),
    ]
    refusal = {"code": "insufficient_funds", "status": 400, "transfer_id": "t3"}
    listed = [ended[1], ended[0]]
    lines = [
        {"type": "run", "seed": 1, "converge_within_s": 15, "counters": ["buffered"]},
        *(request(1, 0.1, "transfer", request=[FUND]), answer(1, 0.2, 201, ended[0])),
        request(2, 0.3, "transfer", request=[PAID]),
        answer(2, 0.4, 202, ended[1] | {"state": "reserved"}),
        *(request(3, 0.5, "transfer", request=[POOR]), answer(3, 0.6, 400, refusal, "fail")),
        *(request(4, 0.7, "transfer", request=[LOST]), answer(4, 5.7, None, None, "info")),
        request(5, 5.8, "batch", request=[BATCH, POOR]),
        answer(5, 5.9, 202, {"results": [{"id": "t5", "state": "buffered"}, {"error": refusal}]}),
        {"type": "nemesis", "at": 6.0, "fault": "a broker that is killed", "phase": "begin"},
        request(6, 6.0, "list", wallets=["A", "B"]),
        answer(6, 6.1, 200, {"pages": [{"data": listed, "next_cursor": None}]}),
        *(request(7, 6.2, "wallet"), answer(7, 6.3, 200, wallets[1])),
        {"type": "nemesis", "at": 7.0, "fault": "a broker that is killed", "phase": "end"},
        *(request(8, 7.1, "snapshot"), answer(8, 7.2, 200, {"data": wallets})),
        *(request(9, 7.3, "revoke", revoked="k0"), answer(9, 7.4, 204, None)),
        *(request(10, 7.5, "poll"), answer(10, 7.6, 200, {"data": ended})),
        *(request(11, 17.0, "wallets", api_key="k0"), answer(11, 17.1, 200, {"data": []})),
        *(request(12, 17.2, "read"), answer(12, 17.3, 200, ended[1])),
        *(request(13, 17.5, "wallets", api_key="k0"), answer(13, 17.6, 401, KEY, "fail")),
        {"type": "counts", "at": 18.0, "counts": {"buffered": 1}},
        {"type": "final", "at": 8.2, "asked_at": 8.1, "wallets": wallets, "transfers": ended},
    ]
    history: list[Line] = json.loads(json.dumps(lines))  # no two lines share an object
    return history


KEY = {"code": "unauthenticated", "status": 401}


def of(history: list[Line], op: int, type: str = "") -> Line:
    """The answer of a request, or the request itself."""
    return next(
        each
        for each in history
        if each.get("op") == op and (each["type"] == "invoke") == (type == "invoke")
    )


def judged(folder: Path, history: list[Line]) -> subprocess.CompletedProcess[str]:
    file = folder / "history.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in history))
    return check(str(file))


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it away from our code and our packages, as a stranger does."""
    command = (sys.executable, "-I", "-S", str(CHECKER), *arguments)
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=60)


def test_a_sound_history_is_correct(tmp_path: Path) -> None:
    said = judged(tmp_path, sound_history())
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == "correct: 10 ok, 2 fail, 1 info, 5 transfers, settled in 1.1 s\n"


def repeated(history: list[Line], changed: Line) -> None:
    """Another answer to the first key, later."""
    of(history, 12, "invoke").update(
        {"do": "transfer", "request": [PAID | changed.pop("body", {})]}
    )
    of(history, 12)["answer"] = transfer(2, "committed", PAID) | changed


BREAKS: dict[str, tuple[Break, str]] = {
    "an answer of a class that is not known": (
        lambda h: of(h, 4).update({"status": 500, "answer": {"code": "internal_error"}}),
        "not a known answer",
    ),
    "a refusal with a code that is not known": (
        lambda h: of(h, 13)["answer"].update({"code": "bad_day"}) or True,
        "not a known answer",
    ),
    "an answer that is recorded as another class": (
        lambda h: of(h, 4).update({"type": "fail"}),
        "not a known answer",
    ),
    "an item of a batch with an answer that is not known": (
        lambda h: of(h, 5)["answer"]["results"].__setitem__(1, {"error": {"status": 500}}),
        "not a known answer to an item",
    ),
    "a wallet whose available money is not what it should be": (
        lambda h: of(h, 7).update({"answer": wallet("A", "2.00") | {"available": "1.99"}}),
        "not balance - reserved - incoming",
    ),
    "a negative wallet": (
        lambda h: of(h, 7).update({"answer": wallet("A", "-0.01")}),
        "negative",
    ),
    "a negative hold": (
        lambda h: of(h, 7).update(
            {"answer": wallet("A", "2.00") | {"reserved": "-1.00", "available": "3.00"}}
        ),
        "negative",
    ),
    "a snapshot that has lost a cent": (
        lambda h: of(h, 8)["answer"]["data"].__setitem__(1, wallet("A", "1.99")),
        "do not add up to zero",
    ),
    "final balances that no transfer explains": (
        lambda h: h[-1].update(
            wallets=[wallet("X", "-5.00", "external"), wallet("A", "1.00"), wallet("B", "4.00")]
        ),
        "not what the committed transfers say",
    ),
    "money that is still on its way at the end": (
        lambda h: h[-1]["wallets"][1].update({"incoming": "1.00", "available": "1.00"}),
        "not what the committed transfers say",
    ),
    "a transfer of a wallet that is not there": (
        lambda h: h[-1].update(
            wallets=[wallet("A", "2.00"), wallet("B", "3.00"), wallet("Y", "-5.00", "external")]
        ),
        "committed for wallets that are not there",
    ),
    "one key with two ids": (
        lambda h: repeated(h, {"id": "t4"}),
        "a key with two ids, or an id of two keys",
    ),
    "a key that is refused as reused, and was used once": (
        lambda h: (
            of(h, 3)["answer"].update({"code": "idempotency_key_reused", "status": 422})
            or of(h, 3).update(status=422)
        ),
        "refused as reused, and used for one thing only: ('a', 'poor')",
    ),
    "two transfers of one key": (
        lambda h: (
            h[-1]["transfers"].append(transfer(6, "rejected", PAID, code="wallet_frozen")),
            of(h, 10)["answer"]["data"].append({"id": "t6"}),
        ),
        "a key with several transfers: a/paid",
    ),
    "an acknowledged transfer that is gone": (
        lambda h: h[-1]["transfers"].pop(4),
        "acknowledged, and lost: t5",
    ),
    "an acknowledged transfer that became another one": (
        lambda h: repeated(h, {"body": {"amount": "2.00"}}),
        "kept as something else",
    ),
    "a transfer that is not final at the end": (
        lambda h: (
            h[-1]["transfers"][3].update(state="credited"),
            of(h, 10)["answer"]["data"][3].update(state="credited"),
        ),
        "not final",
    ),
    "an end that came too late": (
        lambda h: h[-1].update(asked_at=22.1),
        "final only 15.1 s after the last fault",
    ),
    "a refusal after which the transfer ended with another reason": (
        lambda h: h[-1]["transfers"][2].update(failure={"code": "wallet_frozen"}),
        "refused, and ended otherwise",
    ),
    "a refused transfer that moved money": (
        lambda h: of(h, 4).update(
            {"type": "fail", "status": 503, "answer": {"code": "overloaded"}}
        ),
        "committed, and nobody asked, or all were refused",
    ),
    "a transfer that nobody asked for": (
        lambda h: h[-1]["transfers"][3].update(reference="made up"),
        "committed, and nobody asked, or all were refused",
    ),
    "a state that goes back between two reads": (
        lambda h: of(h, 12)["answer"].update(state="accepted"),
        "t2 is accepted after ['reserved', 'committed', 'committed']",
    ),
    "a transfer that was committed and is rolled back": (
        lambda h: of(h, 12)["answer"].update(state="rolled_back"),
        "t2 is rolled_back after ['reserved', 'committed', 'committed'], and ends as committed",
    ),
    "a poller that misses a transfer": (
        lambda h: of(h, 10)["answer"]["data"].pop(3),
        "the poller missed 1 transfers: t4",
    ),
    "a poller that sees a transfer twice": (
        lambda h: of(h, 10)["answer"]["data"].append({"id": "t4"}),
        "the poller saw 1 more than once: t4",
    ),
    "a list that leaves out what was answered before": (
        lambda h: of(h, 6)["answer"]["pages"][0]["data"].pop(0),
        "not in the list",
    ),
    "a list that leaves a gap between two pages": (
        lambda h: of(h, 6)["answer"].update(
            pages=[
                {"data": [transfer(9, "committed", PAID)], "next_cursor": "9"},
                {"data": [transfer(1, "committed", FUND)], "next_cursor": "1"},
            ]
        ),
        "not in the list",
    ),
    "a list that shows a transfer twice": (
        lambda h: of(h, 6)["answer"]["pages"].append(of(h, 6)["answer"]["pages"][0]),
        "the list is not in order, or shows a transfer twice",
    ),
    "a key that lets somebody in long after it was deleted": (
        lambda h: of(h, 11, "invoke").update(at=17.5),
        "let in by a key that was deleted 10.1 s before",
    ),
    "a storm that did not happen": (
        lambda h: h[-2].update(counts={"buffered": 0}),
        "planned, and did not happen: buffered",
    ),
    "an answer to nothing": (lambda h: h.insert(5, answer(99, 1.0, 200, {})), "not a history"),
    "a line of an unknown type": (lambda h: h.insert(5, {"type": "note"}), "not a history"),
    "a history that was cut off": (lambda h: h.pop(), "not a history"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_violation_is_found(name: str, tmp_path: Path) -> None:
    history = sound_history()
    change, message = BREAKS[name]
    change(history)
    said = judged(tmp_path, history)
    assert said.returncode == 1, said
    assert message in said.stdout, said.stdout


def test_every_message_of_the_checker_is_expected_above() -> None:
    tree = ast.parse(CHECKER.read_text())
    messages = [
        max((str(part.value) for part in ast.walk(node) if isinstance(part, ast.Constant)), key=len)
        for node in ast.walk(tree)
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple)
        if not isinstance(node.value.elts[-1], ast.Name)
    ]
    expected = [message for _, message in BREAKS.values()]
    assert len(messages) >= len(PROPERTIES)
    assert not [
        each for each in messages if not any(each.strip() in one or one in each for one in expected)
    ]


@pytest.mark.parametrize(
    "harmless",
    [
        pytest.param(
            lambda h: of(h, 2).update({"status": None, "answer": None, "type": "info"}),
            id="a time-out is unknown, and its transfer may be committed",
        ),
        pytest.param(
            lambda h: of(h, 2).update(
                {"status": 503, "answer": {"code": "unavailable"}, "type": "info"}
            ),
            id="503 unavailable is unknown",
        ),
        pytest.param(
            lambda h: h.remove(of(h, 4)),
            id="a request without any answer is unknown",
        ),
        pytest.param(
            lambda h: repeated(h, {"state": "buffered", "body": {"amount": "2.00"}}),
            id="another content under a used key may be buffered",
        ),
    ],
)
def test_what_is_allowed_is_no_violation(harmless: Break, tmp_path: Path) -> None:
    history = sound_history()
    harmless(history)
    said = judged(tmp_path, history)
    assert (said.returncode, said.stderr) == (0, ""), said.stdout


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("/no/such/file",)])
def test_a_wrong_command_is_one_line_and_exit_2(arguments: tuple[str, ...]) -> None:
    said = check(*arguments)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == "usage: python tools/check_history.py FILE\n"


def test_it_is_short_and_imports_nothing_but_the_standard_library() -> None:
    text = CHECKER.read_text()
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
    assert len(text.splitlines()) <= 250


def test_the_document_is_short() -> None:
    assert len((ROOT / "docs" / "HISTORY.md").read_text().splitlines()) <= 40
