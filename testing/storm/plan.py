"""Plan of a storm: what clients ask and what breaks when, as a pure function of the seed.

Times are seconds since the beginning. A client that is held up sends what it missed as fast as
it can, and what is left at the end is not sent: the plan stays the same, and is not used up.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from random import Random
from typing import Any

from testing.storm.kinds import KINDS, Kind, go_together
from testing.storm.model import Content, Model

CLIENTS = ("a", "b")
ASSETS = ("USD", "USD", "EUR", "BTC")
"""Of each client's wallets, which are numbered through: the first client's come first."""
WALLETS = len(CLIENTS) * len(ASSETS)
FUNDS_MINOR = 10_000_00
"""Of each wallet at the beginning."""
REQUESTS_PER_S = 14
"""Of each client, with two threads."""
READS_PER_S = 4
CALM_AT_END_S = 1.0
LATE_S = 45
"""For so long after the planned end, faults that a slow machine has delayed are made."""
STUCK_AT_ONCE_S = 0.01
"""With this setting every transfer counts as stuck whenever the recovery scan comes by."""

Operation = dict[str, Any]


ALWAYS = ("accepted", "committed", "polled")
EXPECTED = {
    "repeat": "replayed",
    "other": "refused as reused",
    "insufficient_funds": "ended as rejected",
}
"""What is counted when that becomes of a request, by the word of the model."""
OFTEN_ENOUGH = 10
"""Of what the model expects so often, a storm leaves some."""
BY_CHANCE = ("listed", "stale cursor", "redriven")
"""What also happens in every storm that lasts BY_CHANCE_AFTER_S."""
BY_CHANCE_AFTER_S = 40


@dataclass(frozen=True)
class Fault:
    """Something that is broken for a while."""

    name: str
    domain: str
    at_s: float
    lasts_s: float
    victim: int
    """Which of several, counted round."""

    @property
    def ends_s(self) -> float:
        return self.at_s + self.lasts_s


@dataclass(frozen=True)
class Plan:
    """All that a storm does."""

    seed: int
    seconds: int
    broker: str
    stuck_after_s: float
    faults: list[Fault]
    operations: dict[str, list[Operation]]
    """By process: two writers and a reader of each client, an admin, a poller."""
    expected: Counter[str]
    counters: list[str]

    def without(self, names: set[str]) -> Plan:
        """Return the plan without faults that this machine cannot make."""
        faults = [fault for fault in self.faults if fault.name not in names]
        return replace(
            self,
            faults=faults,
            counters=_counters(faults, self.seconds, self.stuck_after_s, self.expected),
        )

    def text(self) -> str:
        """Return it as JSON, one operation or fault on each line."""
        lines: list[Any] = [
            {"seed": self.seed, "stuck_after_s": self.stuck_after_s, "counters": self.counters}
        ]
        lines += [{"fault": asdict(each)} for each in self.faults]
        lines += [
            {"process": process, **each}
            for process, operations in self.operations.items()
            for each in operations
        ]
        return "".join(json.dumps(line) + "\n" for line in lines)


def plan_of(seed: int, seconds: int, broker: str) -> Plan:
    """Return the plan of a seed; the same one wherever and whenever it is asked for."""
    faults = _faults(seed, seconds, broker)
    operations: dict[str, list[Operation]] = {}
    writes = {
        client: list(_writes(_random(seed, "writes", client), seconds + LATE_S, client))
        for client in CLIENTS
    }
    expected = _expected(writes, seconds)
    for client in CLIENTS:
        operations |= {f"{client}1": writes[client][::2], f"{client}2": writes[client][1::2]}
        reads = _reads(_random(seed, "reads", client), seconds + LATE_S, client, writes[client])
        operations[f"{client} reader"] = list(reads)
    operations["admin"] = list(_admins(_random(seed, "admin"), seconds + LATE_S))
    operations["poller"] = [{"at": at / 2, "do": "poll"} for at in range(2 * (seconds + LATE_S))]
    stuck_after_s = _random(seed, "settings").choice((STUCK_AT_ONCE_S, 1.0, 1.0, 2.0))
    return Plan(
        seed=seed,
        seconds=seconds,
        broker=broker,
        stuck_after_s=stuck_after_s,
        faults=faults,
        operations=operations,
        expected=expected,
        counters=_counters(faults, seconds, stuck_after_s, expected),
    )


def are_apart(one: Fault, other: Fault) -> bool:
    """Return whether these two must not be there at the same time."""
    kinds = {kind.name: kind for kind in KINDS}
    return not go_together(kinds[one.name], kinds[other.name])


def _counters(
    faults: list[Fault], seconds: int, stuck_after_s: float, expected: Counter[str]
) -> list[str]:
    planned = {fault.name for fault in faults}
    wanted = {name for kind in KINDS if kind.name in planned for name in kind.counters}
    if seconds >= BY_CHANCE_AFTER_S:
        wanted |= {*BY_CHANCE}
    if stuck_after_s == STUCK_AT_ONCE_S:
        wanted.add("everything is redriven at once")
    wanted |= {EXPECTED[name] for name, count in expected.items() if count >= OFTEN_ENOUGH}
    return [*ALWAYS, *sorted(wanted), *sorted(planned)]


def _expected(writes: dict[str, list[Operation]], seconds: int) -> Counter[str]:
    """Count what becomes of what clients send in time, if it is accepted in the planned order."""
    model = Model(balances=defaultdict(lambda: FUNDS_MINOR))
    found: Counter[str] = Counter()
    sent = [
        (each["at"], client, each)
        for client in writes
        for each in writes[client]
        if each["at"] < seconds
    ]
    for _, client, each in sorted(sent, key=itemgetter(0)):
        for item in each.get("items", ()):
            wallets = str(item["source"]), str(item["destination"])
            found[model.accept((client, item["key"]), Content(*wallets, item["minor"]))] += 1
    found.update(model.ends.values())
    return Counter({name: count for name, count in found.items() if name in EXPECTED})


def _random(*names: object) -> Random:
    return Random("/".join(map(str, names)))  # noqa: S311 - a plan must be repeatable


def _faults(seed: int, seconds: int, broker: str) -> list[Fault]:
    """Two thirds of the time something is broken, at times two things."""
    random = _random(seed, "faults", broker)
    pack = _Pack(seed)
    faults: list[Fault] = []
    at_s = 1.0
    while True:
        lasts_s = round(random.uniform(1.5, 4.5), 2)
        if at_s + lasts_s > seconds - CALM_AT_END_S:
            return sorted(faults, key=lambda fault: fault.at_s)
        first = pack.draw(None)
        faults.append(Fault(first.name, first.domain, at_s, lasts_s, random.randrange(1000)))
        if random.random() < 0.4:
            second = pack.draw(first)
            late_s = random.uniform(0.1, lasts_s / 2)
            times = (round(at_s + late_s, 2), round(lasts_s - late_s, 2))
            faults.append(Fault(second.name, second.domain, *times, random.randrange(1000)))
        at_s = round(at_s + lasts_s + random.uniform(0.3, 0.7) * lasts_s, 2)


class _Pack:
    """All kinds of faults, shuffled again and again.

    The seeds 2n and 2n + 1 share a pack, and the second begins in its middle: together, two short
    storms draw every kind.
    """

    def __init__(self, seed: int) -> None:
        self._random = _random(seed // 2, "pack")
        self._kinds = self._shuffled()
        half = len(KINDS) // 2
        if seed % 2:
            self._kinds = self._kinds[half:] + self._kinds[:half]

    def draw(self, beside: Kind | None) -> Kind:
        """Take the first kind that can be there together with this one."""
        possible = (kind for kind in self._kinds if beside is None or go_together(kind, beside))
        drawn = next(possible, None)
        if drawn is None:
            self._kinds += self._shuffled()
            return self.draw(beside)
        self._kinds.remove(drawn)
        return drawn

    def _shuffled(self) -> list[Kind]:
        return self._random.sample(KINDS, len(KINDS))


def _writes(random: Random, seconds: int, client: str) -> Iterator[Operation]:
    own = _wallets_of(client)
    sent: list[Operation] = []
    for number in range(seconds * REQUESTS_PER_S):
        at = round(number / REQUESTS_PER_S, 3)
        kind = random.random()
        if kind < 0.6 or not sent:
            sent.append(_transfer(random, f"k{number}", own))
            yield {"at": at, "do": "transfer", "items": [sent[-1]]}
        elif kind < 0.7:
            items = [_transfer(random, f"k{number}-{i}", own) for i in range(random.randint(2, 8))]
            items += random.sample(sent[-20:], 1)
            sent += items[:-1]
            yield {"at": at, "do": "batch", "items": items}
        elif kind < 0.9:
            yield {"at": at, "do": "transfer", "items": [random.choice(sent[-20:])]}
        elif kind < 0.95:
            used = random.choice(sent[-20:])
            other = used | {"minor": used["minor"] + 1, "is_other": True}
            yield {"at": at, "do": "transfer", "items": [other]}
        elif kind < 0.96:
            yield {"at": at, "do": "rotate"}
        else:
            yield {"at": at, "do": "wallets", "with_ended_key": True}


def _transfer(random: Random, key: str, own: list[int]) -> Operation:
    source = random.choice(own)
    asset = ASSETS[source % len(ASSETS)]
    others = [w for w in range(WALLETS) if ASSETS[w % len(ASSETS)] == asset and w != source]
    # Few are for more than there is: what was accepted behind such a transfer waits with it.
    minor = 10**12 if random.random() < 0.02 else random.randint(1, 500)
    return {"key": key, "source": source, "destination": random.choice(others), "minor": minor}


def _reads(
    random: Random, seconds: int, client: str, writes: list[Operation]
) -> Iterator[Operation]:
    own = _wallets_of(client)
    watched: list[str] = []
    for number in range(seconds * READS_PER_S):
        at = round(number / READS_PER_S, 3)
        until = number * REQUESTS_PER_S // READS_PER_S
        lately = [each for each in writes[max(0, until - 8) : until] if "items" in each]
        kind = random.random()
        if kind < 0.35 and watched:
            yield {"at": at, "do": "read", "key": random.choice(watched[-4:])}
        elif kind < 0.65 and lately:
            watched.append(random.choice(random.choice(lately)["items"])["key"])
            yield {"at": at, "do": "read", "key": watched[-1]}
        elif kind < 0.75:
            yield {"at": at, "do": "wallet", "wallet": random.choice(own)}
        elif kind < 0.85:
            yield {"at": at, "do": "wallets"}
        else:
            yield {"at": at, "do": "list", "pages": 3, "pause_s": random.choice((0, 0, 0, 1.5))}


def _admins(random: Random, seconds: int) -> Iterator[Operation]:
    for number in range(seconds * 2):
        at = number / 2
        yield {"at": at, "do": "snapshot"}
        if number % 8 == 5:
            wallet = random.randrange(WALLETS)
            yield {"at": at, "do": "freeze", "wallet": wallet}
            yield {
                "at": round(at + random.uniform(0.1, 0.4), 3),
                "do": "unfreeze",
                "wallet": wallet,
            }


def _wallets_of(client: str) -> list[int]:
    first = CLIENTS.index(client) * len(ASSETS)
    return list(range(first, first + len(ASSETS)))
