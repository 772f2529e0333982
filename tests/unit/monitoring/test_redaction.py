"""Redaction of secrets and paths in texts."""

from __future__ import annotations

import time

import pytest

from monitoring.redaction import scrub, scrub_path, scrub_url
from monitoring.sentry.browser_errors import stack_frames

ID = "0199a3c2-5e80-7a31-9c4e-2f6b8d0e1a57"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing to hide here", "nothing to hide here"),
        (f"wallet {ID} is closed", f"wallet {ID} is closed"),
        ("key tp_Zm9vYmFy-Zm9v_YmFyYmF6cXV4 is bad", "key [key] is bad"),
        ("tp_ alone", "[key] alone"),
        (f"tp_{ID}", "[key]"),
        ("Authorization: Bearer abc.def", "[named]"),
        ("sent bearer  abc.def, twice", "sent [credential], twice"),
        ("Basic dXNlcjpwYXNz", "[credential]"),
        ('{"password": "hunter two"}', '{"[named]}'),
        ("my_secret='hunter two' x", "[named] x"),
        ("Idempotency-Key: order-eleven", "[named]"),
        ("my secret: hunter two, x", "my [named], x"),
        ("session_token=abc; theme=dark", "[named]; theme=dark"),
        ("write to alice.miller+x@mail.example.com now", "write to [email] now"),
        ("write to alice%40example.com", "write to [email]"),
        ("x" * 70 + "@example.com", "x" * 6 + "[email]"),
        ("pays 12.50 USD", "pays [number] USD"),
        ("pays USD12.50, then 1,000,000.00", "pays USD[number], then [number]"),
        ("pays 1 000,50 or 1'000", "pays [number] [number] or [number]"),
        ("pays \u0661\u0662", "pays [number]"),
        ("from 192.0.2.17", "from [number]"),
        ("from 2001:db8::17 and ::1", "from [address] and [address]"),
        ("GET /v1/wallets?cursor=abc&x=y failed", "GET /v1/wallets[query] failed"),
        (f"https://api.example/v1/w/{ID}?k=v#f", f"https://api.example/v1/w/{ID}"),
        ("postgresql://me:p@ss?w/rd@db.example/x", "postgresql://db.example/x"),
        ("https://x.example/a?to=eve@b.example&token=hush/c", "https://x.example/a"),
        ("https://x.example?to=eve@hush", "https://x.example"),
        ("https://me/pa:ss@db.example/x", "https://me/[path]"),
        ("https://me:tp_x@eve&token=hush/c", "https://[host]"),
        ("http://[2001:db8::1]:80/a", "http://[2001:db8::1]:80/a"),
        ("opaque Zm9vYmFyYmF6cXV4Zm9vYmFy1 here", "opaque [token] here"),
        ("line\none\ttwo\x00\x1b[31m", "line\none two  [[number]m"),
    ],
)
def test_recognisable_secrets_are_removed_and_ids_stay(text: str, expected: str) -> None:
    assert scrub(text) == expected


def test_a_secret_across_the_cut_does_not_stay_in_half() -> None:
    text = "x" * 90 + " alice.miller@mail.example.com"
    assert scrub(text, max_length=100) == ("x" * 90 + " [email]")[:100]


@pytest.mark.parametrize(
    "piece", ["a", "a-", "1", "@", "://", "a:", "?", "'", "tp_", "secret", "="]
)
def test_no_text_is_slow_to_scrub(piece: str) -> None:
    begun_s = time.process_time()
    scrub(piece * 12_000, max_length=12_000)
    assert time.process_time() - begun_s < 5  # quadratic would be minutes


def test_paths_and_urls_are_shortened_to_their_location() -> None:
    assert scrub_path(f"/wallets/{ID}/12.50?key=tp_x#me@x.y") == f"/wallets/{ID}/[number]"
    assert scrub_url("https://me:tp_x@pay.example:8443/a?b#c") == "https://pay.example:8443/a"
    assert scrub_url("eve@pay.example.12.50://x") == "[email]://x"


CHROMIUM = f"""TypeError: alice@example.com has 12.50
    at row (https://pay.example/assets/wallet.js?v=tp_abc:10:15)
    at async Panel.load [as again] (https://pay.example/assets/panel.js:7:3)
    at https://pay.example/wallets/{ID}:1:2
    at eval (eval at x (alice@example.com))
    at {"x" * 1000} (https://pay.example/a.js:1:2)"""
OURS = """    at row (/wallet/rows.js:10:15)
    at async /shared/panel.js:7:3"""  # shortened by our pages
FIREFOX = """row@https://pay.example/assets/wallet.js:10:15
@https://pay.example/assets/panel.js:7:3
alice@example.com"""


def test_browser_stacks_are_reduced_to_locations() -> None:
    frames = stack_frames(CHROMIUM)
    assert [(it["function"], it["filename"], it["lineno"]) for it in frames] == [
        ("?", f"https://pay.example/wallets/{ID}", 1),
        ("async Panel.load [as again]", "https://pay.example/assets/panel.js", 7),
        ("row", "https://pay.example/assets/wallet.js", 10),
    ]
    assert [it["function"] for it in stack_frames(FIREFOX)] == ["?", "row"]
    assert [it["filename"] for it in stack_frames(OURS)] == ["/shared/panel.js", "/wallet/rows.js"]
    assert stack_frames("") == []
