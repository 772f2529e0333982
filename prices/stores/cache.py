"""The cache's side of prices: a stamped entry per symbol, and the notes that refreshes share.

Guarantees that ages are by one clock, the cache server's; that a write which arrives late (the
server stood still meanwhile) neither makes a price younger nor replaces a newer one; and that
no pause is ever shortened. The cache may lose all of it at any time.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import redis

from prices.decimals import MAX_DECIMALS, parse_price, plain
from prices.outlier_filter import FORGOTTEN_AFTER_S, Suspicion
from prices.quotes import Stamped
from prices.stores.refresh_state import RefreshState
from resilience import redis_client

TURN_S = 4
"""A look that died leaves its turn behind for so long; one that takes longer may overlap with
the next, which costs a request and nothing else."""
KEPT_S = 86_400
_PRICE = "truepenny:price:"
_PAUSE = "truepenny:binance:pause:"
_SUSPICIONS = "truepenny:prices:suspicions"
_TURN = "truepenny:prices:turn"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# An entry is "price stamp", the stamp in microseconds. One from the future was made before the
# server's clock was set back: it would never be replaced otherwise.
_KEEP_NEWER = """
local time = redis.call('TIME')
local now, stamp = time[1] * 1000000 + time[2], tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
    local entry = redis.call('GET', key)
    local kept = entry and tonumber(string.match(entry, ' (%d+)$'))
    if not kept or kept <= stamp or kept > now then
        redis.call('SET', key, ARGV[i + 2] .. ' ' .. ARGV[1], 'EX', ARGV[2])
    end
end
"""
_END_TURN = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


def connect(url: str, *, timeout_s: float) -> redis.Redis:
    """Return a client that gives up after `timeout_s` and does not try again by itself."""
    return redis_client.connect(
        url, timeout_s, max_connections=2, decode_responses=True, encoding_errors="replace"
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to refresh, which one process has at a time, and what it found noted."""

    token: str
    stamp_us: int
    notes: RefreshState


class PriceCache:
    """Prices and notes in the cache. Every method may raise redis.RedisError."""

    def __init__(self, cache: redis.Redis, *, kept_s: int = KEPT_S) -> None:
        """Take the cache, and for how long it keeps a price that no newer one replaces."""
        self._cache = cache
        self._kept_s = kept_s

    def entries(self, symbols: Sequence[str]) -> dict[str, Stamped]:
        """Return the entries there are. One from the future has no age, so it is none."""
        with self._cache.pipeline(transaction=True) as pipeline:
            pipeline.mget([_PRICE + symbol for symbol in symbols])
            pipeline.time()  # after the entries, or one that comes in between is from the future
            texts, now = pipeline.execute()
        now_us = _microseconds(now)
        entries = {
            symbol: _entry(text, now_us) for symbol, text in zip(symbols, texts, strict=True)
        }
        return {symbol: entry for symbol, entry in entries.items() if entry is not None}

    def begin(self, symbols: Sequence[str], pause_names: Sequence[str]) -> Turn | None:
        """Take the turn and read the notes; None when another look is under way.

        Without turns a Binance that hangs would hold all of a worker's processes, which have
        other things to look after, and would be asked by each of them. Only that: two looks at
        once would do no harm, so a turn that is lost or outlived matters little.
        """
        token = secrets.token_hex(8)
        pauses = [_PAUSE + name for name in pause_names]
        with self._cache.pipeline(transaction=True) as pipeline:
            pipeline.set(_TURN, token, nx=True, ex=TURN_S)
            pipeline.time()
            pipeline.mget([_PRICE + symbol for symbol in symbols])
            pipeline.get(_SUSPICIONS)
            pipeline.touch(
                *pauses
            )  # a full cache evicts what was not used: asking for ages is no use
            for name in pauses:
                pipeline.pttl(name)
            mine, now, texts, suspicions, _, *left_ms = pipeline.execute()
        if not mine:
            return None
        now_us = _microseconds(now)
        entries = {symbol: _price(text) for symbol, text in zip(symbols, texts, strict=True)}
        notes = RefreshState(
            now_s=now_us / 1e6,
            last={symbol: price for symbol, price in entries.items() if price is not None},
            suspicions=_suspicions(suspicions),
            pauses={
                name: left / 1000
                for name, left in zip(pause_names, left_ms, strict=True)
                if left > 0
            },
        )
        return Turn(token, now_us, notes)

    def end(
        self,
        turn: Turn,
        *,
        prices: Mapping[str, Decimal],
        suspicions: Mapping[str, Suspicion],
        pauses: Mapping[str, float],
    ) -> None:
        """Keep what the refresh brought, and give the turn back unless it is somebody else's.

        The stamp is of the beginning: a price is never younger than it says.
        """
        with self._cache.pipeline(transaction=True) as pipeline:
            if prices:
                keys = [_PRICE + symbol for symbol in prices]
                values = [plain(price) for price in prices.values()]
                pipeline.eval(_KEEP_NEWER, len(keys), *keys, turn.stamp_us, self._kept_s, *values)
            if suspicions:
                pipeline.set(_SUSPICIONS, _text(suspicions), ex=int(FORGOTTEN_AFTER_S))
            else:
                pipeline.delete(_SUSPICIONS)
            for name, left_s in pauses.items():
                left_ms = int(left_s * 1000) + 1
                pipeline.set(_PAUSE + name, 1, nx=True, px=left_ms)
                pipeline.pexpire(_PAUSE + name, left_ms, gt=True)
            pipeline.eval(_END_TURN, 1, _TURN, turn.token)
            pipeline.execute()


def _microseconds(now: tuple[int, int]) -> int:
    return now[0] * 1_000_000 + now[1]


def _entry(text: str | None, now_us: int) -> Stamped | None:
    price = _price(text)
    if text is None or price is None:
        return None
    stamp_us = int(text.partition(" ")[2])
    age_us = now_us - stamp_us
    if age_us < 0:
        return None
    return Stamped(price, _EPOCH + timedelta(microseconds=stamp_us), age_us / 1e6)


def _price(text: str | None) -> Decimal | None:
    """The price of an entry; None where there is none, or something that is none of ours."""
    price, _, stamp = (text or "").partition(" ")
    if not (stamp.isascii() and stamp.isdigit()):
        return None
    return parse_price(price, decimals=MAX_DECIMALS + 1)  # a middle may have one more


def _text(suspicions: Mapping[str, Suspicion]) -> str:
    return json.dumps(
        {symbol: asdict(each) | {"price": plain(each.price)} for symbol, each in suspicions.items()}
    )


def _suspicions(text: str | None) -> dict[str, Suspicion]:
    """Those noted; none where there is something that this version would not have noted."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(text or "{}")
        return {
            symbol: Suspicion(**(fields | {"price": Decimal(fields["price"])}))
            for symbol, fields in found.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
        return {}
