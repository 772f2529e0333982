"""Metrics of a whole installation: correct over all processes, even when some die."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_plain
from sqlalchemy import text

from ledger.clients import create_client
from ledger.postgres.database import transaction
from ledger.states import STEPS
from stack.servers.own import Servers
from stack.servers.ports import LOOPBACK, free_port
from testing.http_client import Caller
from testing.installation import Installation, running_installation
from testing.price_setup import put_live_prices
from testing.programs import PROMTOOL
from testing.servers.breakable import breakable
from testing.servers.brokers import RedisBroker
from testing.servers.databases import as_owner
from testing.servers.shared import ROOT, migrate
from testing.worker_processes import SCANS, eventually

pytestmark = pytest.mark.chaos

WITHIN_S = 2.0
KEYS_KNOWN_WITHIN_S = 10.0
OPEN = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
SETTLED = 'truepenny_transfers_settled_total{state="committed"}'
COMMITTED = 'truepenny_step_transfers_sum{step="commit"}'
WALLETS = (
    'truepenny_http_request_seconds_count{method="GET",route="/v1/wallets/{wallet_id}",'
    'status="2xx",waits="no"}'
)


@pytest.fixture(scope="module")
def watched(
    own_servers: tuple[Servers, Path], redis_broker: RedisBroker, cache_url: str
) -> Iterator[Installation]:
    servers, folder = own_servers
    redis_broker.empty()
    postgres = servers.postgres()
    with breakable(postgres, folder / "postgres.log") as database:
        migrate(postgres.url)
        with running_installation(
            database, postgres.url, redis_broker, cache_url, folder
        ) as everything:
            yield everything


def scrape(installation: Installation, accept: str = "") -> str:
    """Return the metrics from one API process; checks that they come in time."""
    begun_s = time.monotonic()
    answer = Caller(installation.client.port).get("/metrics", Accept=accept)
    assert answer.status_code == 200, answer.text
    assert time.monotonic() - begun_s < WITHIN_S
    return answer.text


def numbers(installation: Installation) -> dict[str, float]:
    """Return every sample, by its name and labels as printed."""
    lines = [line for line in scrape(installation).splitlines() if not line.startswith("#")]
    return {name: float(number) for name, _, number in (line.rpartition(" ") for line in lines)}


def number(installation: Installation, sample: str) -> float:
    return numbers(installation).get(sample, 0.0)


def counts_up_to(installation: Installation, sample: str, expected: float) -> None:
    """Wait until every process answers with this number."""
    eventually(lambda: {number(installation, sample) for _ in range(6)} == {expected})


def ask_for_a_wallet(installation: Installation, times: int) -> None:
    """Ask in parallel, each over its own connection, so that every process gets some."""

    def ask(_: int) -> None:
        caller = Caller(installation.client.port, installation.client.api_key)
        assert caller.get(f"/v1/wallets/{installation.source.id}").ok

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(times)))


def processes_below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def processes_of_the_api(installation: Installation) -> list[psutil.Process]:
    for process in psutil.Process().children():
        listening = {each.laddr[1:2] for each in process.net_connections("tcp")}
        if (installation.client.port,) in listening:
            return process.children()
    raise AssertionError("no process listens there")


def files_of(installation: Installation) -> list[Path]:
    return sorted((installation.folder / "run" / "metrics").rglob("*.db"))


def test_requests_are_counted_over_all_processes_and_none_is_lost_with_one(
    watched: Installation,
) -> None:
    before = number(watched, WALLETS)
    ask_for_a_wallet(watched, 40)
    counts_up_to(watched, WALLETS, before + 40)
    victim, *others = processes_of_the_api(watched)
    assert others, "the API has several processes"
    victim.kill()
    eventually(lambda: len(processes_of_the_api(watched)) == len(others) + 1)
    files = files_of(watched)
    counts_up_to(watched, WALLETS, before + 40)
    ask_for_a_wallet(watched, 40)
    counts_up_to(watched, WALLETS, before + 80)
    assert len(files_of(watched)) <= len(files) + 1, "the new process took the old one's place"


def test_transfers_are_counted_over_all_workers_and_none_is_lost_with_one(
    watched: Installation,
) -> None:
    settled, committed = number(watched, SETTLED), number(watched, COMMITTED)
    watched.settles([watched.client.submit(watched.body()).json()["id"] for _ in range(20)])
    counts_up_to(watched, SETTLED, settled + 20)
    counts_up_to(watched, COMMITTED, committed + 20)
    [money] = [worker for worker in watched.workers.started if worker.is_money_alive]
    for child in processes_below(money.pid):
        child.kill()
    watched.settles([watched.client.submit(watched.body()).json()["id"] for _ in range(20)])
    counts_up_to(watched, SETTLED, settled + 40)
    # A child that dies between its commit and counting it loses that count.
    assert committed + 20 <= number(watched, COMMITTED) <= committed + 40


def test_each_part_of_a_transfers_way_is_measured(watched: Installation) -> None:
    parts = [
        f'truepenny_part_seconds_count{{part="{part}"}}'
        for part in ("door", "hop", "claim", "wake")
    ]
    parts += [f'truepenny_part_seconds_count{{part="{step}_sql"}}' for step, *_ in STEPS]
    before = numbers(watched)
    answer = watched.client.submit(watched.body(), prefer="wait=10")
    assert answer.json()["state"] == "committed"
    watched.settles([answer.json()["id"]])

    def grown() -> set[str]:
        now = numbers(watched)
        return {part for part in parts if now.get(part, 0.0) > before.get(part, 0.0)}

    eventually(lambda: grown() == set(parts))
    sums = {name: value for name, value in numbers(watched).items() if "part_seconds_sum" in name}
    assert all(0 < value < 60 for value in sums.values()), sums


def test_a_process_that_cannot_read_which_keys_are_refused_shows_how_old_its_knowledge_is(
    watched: Installation,
) -> None:
    def ages_s() -> list[float]:
        known = [
            value
            for name, value in numbers(watched).items()
            if name.startswith("truepenny_keys_known_timestamp_seconds{")
        ]
        return [time.time() - value for value in known if value]

    ask_for_a_wallet(watched, 40)  # a process watches from its first request with a key on
    eventually(lambda: len(ages_s()) == len(processes_of_the_api(watched)))
    eventually(lambda: max(ages_s()) < KEYS_KNOWN_WITHIN_S)
    with as_owner(watched.engine) as connection:  # the database answers, the watch waits
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(text("LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE"))
        eventually(lambda: min(ages_s()) > KEYS_KNOWN_WITHIN_S + 2.0, within_s=30)
    eventually(lambda: max(ages_s()) < KEYS_KNOWN_WITHIN_S, within_s=30)
    with watched.outage():
        eventually(lambda: min(ages_s()) > KEYS_KNOWN_WITHIN_S + 2.0, within_s=30)
    eventually(lambda: max(ages_s()) < KEYS_KNOWN_WITHIN_S, within_s=30)


def test_values_invented_by_clients_become_no_series(watched: Installation) -> None:
    def series() -> set[str]:
        counted = ("truepenny_http_request_seconds_sum", "truepenny_problems_total")
        return {name for name in numbers(watched) if name.startswith(counted)}

    stranger = Caller(watched.client.port)
    for path in ("/nothing", "/v1/nothing", "/v1/wallets/none", "/docs/none", "/assets/none"):
        stranger.get(path)
        stranger("BREW", path)
    before = series()
    for count in range(50):
        stranger.get(f"/nothing/{count}/{'x' * count}")
        stranger.get(f"/v1/wallets/{count}?limit={count}")
        stranger(f"BREW{count}", f"/nothing/{count}")
    assert series() - before == set()
    assert not any("nothing" in name or "BREW" in name for name in series())


def test_every_family_appears_once_in_either_format(watched: Installation) -> None:
    for accept, read in ((OPEN, read_open), ("", read_plain), ("*/*", read_plain)):
        printed = scrape(watched, accept)
        families = Counter(line.split()[2] for line in printed.splitlines() if "# TYPE" in line)
        assert families
        assert set(families.values()) == {1}
        assert {family.name for family in read(printed)} >= {"truepenny_step_seconds"}
    assert scrape(watched, OPEN).endswith("# EOF\n")


def test_promtool_finds_nothing_to_complain_of(watched: Installation) -> None:
    command = [str(PROMTOOL.path()), "check", "metrics"]
    checked = subprocess.run(
        command, input=scrape(watched), text=True, capture_output=True, check=False
    )
    assert (checked.stdout + checked.stderr, checked.returncode) == ("", 0)


def test_every_metric_of_the_rules_is_there(watched: Installation, cache_url: str) -> None:
    rules = (ROOT / "monitoring" / "alerts.yml").read_text()
    named = set(re.findall(r"\btruepenny_\w+", rules))
    put_live_prices(cache_url)  # a static price has no age

    def missing() -> set[str]:
        return named - {name.partition("{")[0] for name in numbers(watched)}

    assert named
    # A new process has to look at the broker first.
    eventually(lambda: not missing(), report=lambda: f"no process exports {missing()}")


def test_a_worker_on_another_machine_serves_its_own(watched: Installation) -> None:
    port = free_port()
    elsewhere = {"DATA_DIR": str(watched.folder / "elsewhere"), "METRICS_PORT": str(port)}
    before = dict(watched.workers.environment)
    watched.workers.environment |= elsewhere
    [worker] = watched.workers.ready(SCANS)
    watched.workers.environment.update(before)
    printed = requests.get(f"http://{LOOPBACK}:{port}/metrics", timeout=5)
    assert printed.headers["Content-Type"].startswith("text/plain")
    eventually(lambda: 'truepenny_scan_runs_total{outcome="ok"' in _of(port))
    assert "truepenny_http_request_seconds" not in _of(port)
    assert requests.get(f"http://{LOOPBACK}:{port}/", timeout=5).status_code == 404
    worker.stop()


def _of(port: int) -> str:
    return requests.get(f"http://{LOOPBACK}:{port}/metrics", timeout=5).text


@pytest.fixture(scope="module")
def admin(watched: Installation) -> Caller:
    with transaction(watched.engine) as connection:
        _, api_key = create_client(connection, name="admin", scope="admin", rate_limit="none")
    return Caller(watched.client.port, api_key)


def overview(admin: Caller) -> dict[str, Any]:
    """Return the operations overview; checks that it comes in time."""
    begun_s = time.monotonic()
    answer = admin.get("/v1/ops/overview")
    assert answer.status_code == 200, answer.text
    assert time.monotonic() - begun_s < WITHIN_S
    document: dict[str, Any] = answer.json()
    return document


def test_every_scan_says_of_its_last_run_how_it_went(watched: Installation, admin: Caller) -> None:
    def are_well(*names: str) -> bool:
        scans = {scan["name"]: scan for scan in overview(admin)["scans"]}
        return all(name in scans and scans[name]["ok"] and scans[name]["at"] for name in names)

    eventually(lambda: are_well("recovery", "drain", "reconciliation"), within_s=60)
    alive = {worker["program"] for worker in overview(admin)["workers"] if worker["alive"]}
    assert {"money", "scans", "beat"} <= alive
    eventually(lambda: number(watched, 'truepenny_scan_ok{scan="recovery"}') == 1)


def test_without_the_database_metrics_and_overview_say_so(
    watched: Installation, admin: Caller
) -> None:
    assert overview(admin)["unknown"] == {}
    known = 'truepenny_known{part="database"}'
    eventually(lambda: number(watched, known) == 1)
    with watched.outage():
        counts_up_to(watched, known, 0)
        counts_up_to(watched, 'truepenny_component_up{component="database"}', 0)
        assert SETTLED not in numbers(watched)
        eventually(
            lambda: all(
                open_ == 1
                for name, open_ in numbers(watched).items()
                if name.startswith("truepenny_database_breaker_open")
            )
        )
        answer = watched.client.submit(watched.body())
        assert answer.json()["state"] == "buffered"
        eventually(lambda: number(watched, "truepenny_intake_buffer_requests") >= 1)
        eventually(lambda: overview(admin)["transfers"]["states"]["buffered"] == 1)
        found = overview(admin)
        assert found["unknown"] == {"transfers": "the database does not answer"}
        assert found["transfers"]["states"]["committed"] is None
        assert found["breakers"][0]["state"] in ("open", "half-open")
    watched.settles([answer.json()["id"]])
    eventually(lambda: number(watched, known) == 1)
    drained = 'truepenny_drained_requests_total{outcome="accepted"}'
    eventually(lambda: number(watched, drained) >= 1)
