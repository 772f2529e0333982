"""History checker: proves from the record of one storm that no money was lost or doubled.

`python tools/check_history.py FILE` ends with 0 if every property of docs/HISTORY.md holds, with 1
and the first violation if not, with 2 if the command is wrong. It imports no code that it judges.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

Line = dict[str, Any]
Operation = tuple[Line, Line]  # a request of a client and its answer; without one: info
Attempt = tuple[Line, Line, Line, str, Line, str]  # of one transfer: see `attempts`
Violation = tuple[int, str]  # the line of the file, and what is wrong there

FINAL = {"committed": 5, "rejected": 5, "rolled_back": 5}
RANKS = {"accepted": 1, "reserved": 2, "deducted": 3, "credited": 4, **FINAL}
content = itemgetter("source", "destination", "asset", "amount", "reference")
REFUSALS = {
    "400 invalid_request", "400 insufficient_funds", "401 unauthenticated", "403 forbidden",
    "404 not_found", "409 invalid_state", "422 idempotency_key_reused", "422 wallet_frozen",
    "422 wallet_closed", "422 rolled_back", "429 rate_limited", "503 overloaded",
}  # fmt: skip


def classify(status: int | None, answer: Any) -> str:
    """Return ok, fail (certainly nothing done), info (not known), or unknown: no such answer."""
    code = answer.get("code") if isinstance(answer, dict) else None
    if status in (200, 201, 202, 204):
        return "ok"
    if status is None or (status, code) == (503, "unavailable"):
        return "fail" if status and answer.get("recorded") is False else "info"
    return "fail" if f"{status} {code}" in REFUSALS else "unknown"


def minor(amount: str) -> int:
    """Return all digits: the amounts of one asset have equally many decimals."""
    return int(amount.replace(".", ""))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Return every object in an answer, however deep."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from objects(each)


class History:
    """The file, read. Each public method but `done` yields what violates a property."""

    def __init__(self, lines: list[Line]) -> None:
        lines = [line | {"line": number} for number, line in enumerate(lines, 1)]
        of = {kind: [each for each in lines if each["type"] == kind] for kind in KINDS}
        [self.run], [self.final], [self.counts] = of["run"], of["final"], of["counts"]
        ends = {each["op"]: each for kind in ("ok", "fail", "info") for each in of[kind]}
        unknown: Line = {"type": "info", "status": None, "answer": None, "at": float("inf")}
        self.operations: list[Operation] = [
            (each, ends.pop(each["op"], unknown | {"line": each["line"]})) for each in of["invoke"]
        ]
        if ends or sum(map(len, of.values())) != len(lines):
            raise ValueError("a line has an unknown type, or an answer belongs to no request")
        self.attempts = [attempt for each in self.operations for attempt in attempts(*each)]
        self.transfers = {each["id"]: each for each in self.final["transfers"]}
        self.end = self.final["line"]
        self.took_s = self.final["asked_at"] - max(each["at"] for each in of["nemesis"])

    def done(self, *do: str) -> list[Operation]:
        """Return the requests of a kind (or all) that were answered ok."""
        ok = ((invoke, end) for invoke, end in self.operations if end["type"] == "ok")
        return [(invoke, end) for invoke, end in ok if not do or invoke["do"] in do]

    def answers_are_known(self) -> Iterator[Violation]:
        for _, end in self.operations:
            if classify(end["status"], end["answer"]) != end["type"]:
                yield end["line"], f"not a known answer: {end!r:.500}"
        for _, end, _, type_, answer, _ in self.attempts:
            if type_ == "unknown":
                yield end["line"], f"not a known answer to an item: {answer}"

    def wallets_are_sound(self) -> Iterator[Violation]:
        for answer in [*(end for _, end in self.done()), self.final]:
            for each in objects(answer):
                if "available" in each:
                    held = minor(each["reserved"]), minor(each["incoming"])
                    available = minor(each["available"])
                    if available != minor(each["balance"]) - sum(held):
                        yield answer["line"], f"not balance - reserved - incoming: {each}"
                    if min(*held, 0 if each["kind"] == "external" else available) < 0:
                        yield answer["line"], f"negative: {each}"

    def snapshots_sum_to_zero(self) -> Iterator[Violation]:
        shots = [(end["line"], end["answer"]["data"]) for _, end in self.done("snapshot")]
        for line, wallets in [*shots, (self.end, self.final["wallets"])]:
            sums: Counter[str] = Counter()
            for each in wallets:
                sums[each["asset"]] += minor(each["balance"])
            if any(sums.values()):
                yield line, f"the balances of all wallets do not add up to zero: {dict(sums)}"

    def final_balances_follow(self) -> Iterator[Violation]:
        booked: Counter[str] = Counter()
        for each in self.transfers.values():
            if each["state"] == "committed":
                booked[each["source"]] -= minor(each["amount"])
                booked[each["destination"]] += minor(each["amount"])
        for wallet in self.final["wallets"]:
            shown = [minor(wallet[name]) for name in ("balance", "reserved", "incoming")]
            if shown != [booked.pop(wallet["id"], 0), 0, 0]:
                yield self.end, f"not what the committed transfers say: {wallet}"
        if any(booked.values()):
            yield self.end, f"committed for wallets that are not there: {dict(booked)}"

    def one_transfer_per_key(self) -> Iterator[Violation]:
        ids, keys = dict[tuple[str, str], str](), dict[str, tuple[str, str]]()
        used = {(invoke["client"], *each.items()) for invoke, _, each, *_ in self.attempts}
        uses = Counter((client, dict(each)["key"]) for client, *each in used)
        for invoke, end, body, _, answer, id_ in self.attempts:
            key = (invoke["client"], body["key"])
            if id_ and (ids.setdefault(key, id_) != id_ or keys.setdefault(id_, key) != key):
                yield end["line"], f"a key with two ids, or an id of two keys: {key} {id_}"
            if answer.get("code") == "idempotency_key_reused" and uses[key] == 1:
                yield end["line"], f"refused as reused, and used for one thing only: {key}"
        for one, count in Counter(each["reference"] for each in self.final["transfers"]).items():
            if count > 1:
                yield self.end, f"a key with several transfers: {one}"

    def acknowledged_is_kept(self) -> Iterator[Violation]:
        for _, end, body, type_, answer, id_ in self.attempts:
            # A key may be used for another content while the database is away: one of them stays.
            may_differ = answer.get("state") == "buffered"
            kept = self.transfers.get(id_)
            if type_ == "ok" and not (kept and kept["state"] in FINAL):
                yield end["line"], f"acknowledged, and lost: {id_} of {body}"
            elif type_ == "ok" and kept and content(kept) != content(body) and not may_differ:
                yield end["line"], f"acknowledged, and kept as something else: {kept}"

    def everything_is_final(self) -> Iterator[Violation]:
        for each in self.transfers.values():
            if each["state"] not in FINAL:
                yield self.end, f"not final: {each}"
        if self.took_s > self.run["converge_within_s"]:
            yield self.end, f"final only {self.took_s:.1f} s after the last fault"

    def refused_moved_nothing(self) -> Iterator[Violation]:
        asked: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        for _, end, body, type_, answer, id_ in self.attempts:
            asked[content(body)].add(type_)
            kept = self.transfers.get(id_)
            if type_ == "fail" and kept and (kept["failure"] or {}).get("code") != answer["code"]:
                yield end["line"], f"refused, and ended otherwise: {kept}"
        for each in self.transfers.values():
            if each["state"] == "committed" and not asked[content(each)] - {"fail"}:
                yield self.end, f"committed, and nobody asked, or all were refused: {each}"

    def states_only_advance(self) -> Iterator[Violation]:
        seen: defaultdict[str, list[tuple[Operation, str]]] = defaultdict(list)
        for operation in self.done():
            for each in objects(operation[1]):
                if "id" in each and each.get("state") in RANKS:
                    seen[each["id"]].append((operation, each["state"]))
        for id_, reads in seen.items():
            last = self.transfers.get(id_, {}).get("state")
            for (invoke, end), state in reads:
                before = [s for (_, earlier), s in reads if earlier["at"] < invoke["at"]]
                if (state in FINAL and state != last) or any(
                    RANKS[s] > RANKS[state] for s in before
                ):
                    yield end["line"], f"{id_} is {state} after {before}, and ends as {last}"

    def the_poller_misses_nothing(self) -> Iterator[Violation]:
        polled = Counter(t["id"] for _, end in self.done("poll") for t in end["answer"]["data"])
        if missed := self.transfers.keys() - polled.keys():
            yield self.end, f"the poller missed {len(missed)} transfers: {min(missed)}"
        if more := [id_ for id_, count in polled.items() if count > 1]:
            yield self.end, f"the poller saw {len(more)} more than once: {more[0]}"

    def lists_are_whole(self) -> Iterator[Violation]:
        known = [
            (end["at"], self.transfers[id_])
            for _, end, _, type_, answer, id_ in self.attempts
            if type_ == "ok" and id_ in self.transfers and answer["state"] != "buffered"
        ]
        for invoke, end in self.done("list"):
            pages = end["answer"]["pages"]
            places = [(each["created_at"], each["id"]) for page in pages for each in page["data"]]
            if places != sorted(set(places), reverse=True):
                yield end["line"], "the list is not in order, or shows a transfer twice"
            until = places[-1] if pages[-1]["next_cursor"] else ("", "")
            for at, each in known:
                place = (each["created_at"], each["id"])
                is_mine = {each["source"], each["destination"]} & {*invoke["wallets"]}
                if is_mine and at < invoke["at"] and place > until and place not in places:
                    yield end["line"], f"not in the list, and answered at {at}: {each}"

    def ended_keys_are_refused(self) -> Iterator[Violation]:
        ended = {invoke["revoked"]: end["at"] for invoke, end in self.done("revoke")}
        for invoke, end in self.done():
            ago = invoke["at"] - ended.get(invoke.get("api_key"), invoke["at"])
            if ago > 10:
                yield end["line"], f"let in by a key that was deleted {ago:.1f} s before"

    def the_storm_happened(self) -> Iterator[Violation]:
        missing = [name for name in self.run["counters"] if not self.counts["counts"].get(name)]
        yield from ((self.end, f"planned, and did not happen: {name}") for name in missing)


KINDS = ("run", "invoke", "ok", "fail", "info", "nemesis", "counts", "final")
PROPERTIES = [name for name in vars(History) if name[0] != "_" and name != "done"]


def attempts(invoke: Line, end: Line) -> Iterator[Attempt]:
    """Return the transfers of a request: its lines, a body, its answer's type, it, and the id."""
    answer = end["answer"] or {}
    bodies = invoke["request"] if invoke["do"] in ("transfer", "batch") else []
    for body, result in zip(bodies, answer.get("results") or [answer] * len(bodies), strict=True):
        error = result.get("error")
        type_ = classify(error["status"], error) if error else end["type"]
        id_ = (error or result).get("id", (error or result).get("transfer_id", ""))
        yield invoke, end, body, type_, error or result, id_


def main(arguments: list[str]) -> int:
    """Check the file and say the result in one line."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print("usage: python tools/check_history.py FILE", file=sys.stderr)
        return 2
    try:
        history = History(list(map(json.loads, Path(arguments[0]).read_text().splitlines())))
        wrong = sorted(each for name in PROPERTIES for each in getattr(history, name)())
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        wrong = [(1, f"not a history: {error!r}")]
    if wrong:
        print(f"{arguments[0]}:{wrong[0][0]}: {wrong[0][1]}")
        return 1
    types = Counter(end["type"] for _, end in history.operations)
    said = f"{types['ok']} ok, {types['fail']} fail, {types['info']} info"
    print(f"correct: {said}, {len(history.transfers)} transfers, settled in {history.took_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
