"""Price cache: a timestamped entry per symbol, and the state that refreshes share.

Guarantees that ages are by one clock, the cache server's; that a late write (because the server
was frozen) neither makes a price younger nor replaces a newer one; and that no pause is ever
shortened. The cache may lose everything at any time.
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
from prices.quotes import StampedPrice
from prices.stores.refresh_state import RefreshState
from resilience import redis_client

LEASE_S = 4
"""A refresh that died blocks the next for so long. One that takes longer may overlap with the
next, which costs an additional request and nothing else."""
KEPT_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# An entry is "price stamp", the stamp in microseconds. An entry from the future was written before
# the server's clock was set back: without the last condition it would never be replaced.
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
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


def connect(url: str, *, timeout_s: float) -> redis.Redis:
    """Return a client that gives up after `timeout_s` and does not retry."""
    return redis_client.connect(
        url, timeout_s, max_connections=2, decode_responses=True, encoding_errors="replace"
    )


@dataclass(frozen=True, slots=True)
class RefreshLease:
    """The right to refresh, which one process has at a time, and the state it starts from."""

    token: str
    stamp_us: int
    state: RefreshState


class PriceCache:
    """Prices and refresh state in the cache. Every method may raise redis.RedisError."""

    def __init__(self, cache: redis.Redis, *, key_prefix: str, kept_s: int = KEPT_S) -> None:
        """Take the cache, and for how long it keeps a price that is not replaced."""
        self._cache = cache
        self._kept_s = kept_s
        self._price = f"{key_prefix}price:"
        self._pause = f"{key_prefix}binance:pause:"
        self._suspicions = f"{key_prefix}prices:suspicions"
        self._lease = f"{key_prefix}prices:turn"

    def entries(self, symbols: Sequence[str]) -> dict[str, StampedPrice]:
        """Return the entries by symbol, without those from the future: their age is unknown."""
        with self._cache.pipeline(transaction=True) as pipeline:
            pipeline.mget([self._price + symbol for symbol in symbols])
            pipeline.time()  # after the entries, so that none of them is from the future
            texts, now = pipeline.execute()
        now_us = _microseconds(now)
        entries = {
            symbol: _entry(text, now_us) for symbol, text in zip(symbols, texts, strict=True)
        }
        return {symbol: entry for symbol, entry in entries.items() if entry is not None}

    def begin(self, symbols: Sequence[str], pause_names: Sequence[str]) -> RefreshLease | None:
        """Take the lease and read the state; None while another process refreshes.

        Without the lease a Binance that hangs would block all processes of a worker, which have
        other work, and each of them would ask it. That is its only purpose: two refreshes at once
        do no harm, so a lease that is lost or has expired matters little.
        """
        token = secrets.token_hex(8)
        pauses = [self._pause + name for name in pause_names]
        with self._cache.pipeline(transaction=True) as pipeline:
            pipeline.set(self._lease, token, nx=True, ex=LEASE_S)
            pipeline.time()
            pipeline.mget([self._price + symbol for symbol in symbols])
            pipeline.get(self._suspicions)
            # A full cache evicts unused keys first, and reading an expiry does not count as use.
            pipeline.touch(*pauses)
            for name in pauses:
                pipeline.pttl(name)
            is_ours, now, texts, suspicions, _, *left_ms = pipeline.execute()
        if not is_ours:
            return None
        now_us = _microseconds(now)
        entries = {symbol: _price(text) for symbol, text in zip(symbols, texts, strict=True)}
        state = RefreshState(
            now_s=now_us / 1e6,
            last={symbol: price for symbol, price in entries.items() if price is not None},
            suspicions=_suspicions(suspicions),
            pauses={
                name: left / 1000
                for name, left in zip(pause_names, left_ms, strict=True)
                if left > 0
            },
        )
        return RefreshLease(token, now_us, state)

    def end(
        self,
        lease: RefreshLease,
        *,
        prices: Mapping[str, Decimal],
        suspicions: Mapping[str, Suspicion],
        pauses: Mapping[str, float],
    ) -> None:
        """Store the results of the refresh, and release the lease unless another process has it.

        The timestamp is that of the beginning: a price is never younger than it claims.
        """
        with self._cache.pipeline(transaction=True) as pipeline:
            if prices:
                keys = [self._price + symbol for symbol in prices]
                values = [plain(price) for price in prices.values()]
                pipeline.eval(_KEEP_NEWER, len(keys), *keys, lease.stamp_us, self._kept_s, *values)
            if suspicions:
                pipeline.set(self._suspicions, _text(suspicions), ex=int(FORGOTTEN_AFTER_S))
            else:
                pipeline.delete(self._suspicions)
            for name, left_s in pauses.items():
                left_ms = int(left_s * 1000) + 1
                pipeline.set(self._pause + name, 1, nx=True, px=left_ms)
                pipeline.pexpire(self._pause + name, left_ms, gt=True)
            pipeline.eval(_RELEASE, 1, self._lease, lease.token)
            pipeline.execute()


def _microseconds(now: tuple[int, int]) -> int:
    return now[0] * 1_000_000 + now[1]


def _entry(text: str | None, now_us: int) -> StampedPrice | None:
    price = _price(text)
    if text is None or price is None:
        return None
    stamp_us = int(text.partition(" ")[2])
    age_us = now_us - stamp_us
    if age_us < 0:
        return None
    return StampedPrice(price, _EPOCH + timedelta(microseconds=stamp_us), age_us / 1e6)


def _price(text: str | None) -> Decimal | None:
    """Return the price of an entry; None if there is no entry or its form is unknown."""
    price, _, stamp = (text or "").partition(" ")
    if not (stamp.isascii() and stamp.isdigit()):
        return None
    return parse_price(price, decimals=MAX_DECIMALS + 1)  # a middle price may have one more


def _text(suspicions: Mapping[str, Suspicion]) -> str:
    return json.dumps(
        {symbol: asdict(each) | {"price": plain(each.price)} for symbol, each in suspicions.items()}
    )


def _suspicions(text: str | None) -> dict[str, Suspicion]:
    """Parse the suspicions; none if they are in a form that this version does not know."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(text or "{}")
        return {
            symbol: Suspicion(**(fields | {"price": Decimal(fields["price"])}))
            for symbol, fields in found.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
        return {}
