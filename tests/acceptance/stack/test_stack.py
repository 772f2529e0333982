"""`make up` end to end: what it prints works, and what dies comes back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
import requests

from stack.servers.kept_values import KeptValues
from tests.acceptance.stack.stack_process import (
    PROGRAMS,
    ROOT,
    StackProcess,
    complaints,
    eventually,
    gone,
    new_stack,
    run_make_up,
    wallet_of,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack(servers_folder: Path) -> Iterator[StackProcess]:
    """Start a stack that the tests of this file share and leave running."""
    stack = new_stack(servers_folder / "shared stack 100%")
    stack.environment["HUNG_AFTER_S"] = "10"
    stack.start()
    try:
        stack.wait_until_up()
        yield stack
    finally:
        stack.stop()


def paste(line: str) -> dict[str, Any]:
    output = subprocess.check_output(["bash", "-c", line], text=True, timeout=30)
    answer: dict[str, Any] = json.loads(output)
    return answer


def tour_commands() -> str:
    """Return the commands of docs/TOUR.md, in order."""
    blocks = re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "docs/TOUR.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return "".join(blocks)


def test_it_prints_addresses_that_answer(stack: StackProcess) -> None:
    assert stack.shown("API").startswith(stack.url)
    assert requests.get(f"{stack.url}/health/live", timeout=10).ok
    assert "text/html" in requests.get(f"{stack.url}/docs", timeout=10).headers["Content-Type"]


def test_flower_answers_to_the_printed_password_only(stack: StackProcess) -> None:
    user, password = stack.shown("Flower").rpartition("(")[2].rstrip(")").split(":")
    assert requests.get(stack.flower_url, timeout=10).status_code == requests.codes.unauthorized
    eventually(
        "Flower's page",
        lambda: requests.get(stack.flower_url, auth=(user, password), timeout=10).ok,
    )


def test_the_printed_curl_line_moves_money_once(stack: StackProcess) -> None:
    line = stack.curl_line()
    assert line
    first = paste(line)
    assert first["state"] == "committed"
    balance = wallet_of(stack, "destination", first)["balance"]
    repeated = paste(line)
    assert repeated["id"] == first["id"]
    assert wallet_of(stack, "destination", first)["balance"] == balance


def test_the_tour_shows_what_it_promises(stack: StackProcess) -> None:
    output = subprocess.check_output(
        ["bash", "-eu", "-c", tour_commands()], env=stack.environment, cwd=ROOT, timeout=120
    ).decode()
    one, two, one_after, two_after = map(
        Decimal, re.findall(r'^"balance":"(.+)"$', output, re.MULTILINE)
    )
    assert (one_after - one, two_after - two) == (Decimal(-50), Decimal(50))
    assert '"event": "redriven"' in output
    assert '"state":"buffered"' in output
    assert '"state":"committed"' in output.splitlines()[-1]


def test_the_admin_key_is_in_the_printed_file(stack: StackProcess) -> None:
    file = Path(stack.shown("admin key").removeprefix("in "))
    assert file.stat().st_mode & 0o777 == 0o600
    headers = {"Authorization": f"Bearer {file.read_text()}"}
    assert requests.get(f"{stack.url}/v1/wallets", headers=headers, timeout=10).ok


def test_no_secret_is_in_a_command_line_or_a_file_for_all(stack: StackProcess) -> None:
    kept = (stack.data_dir / "secrets").iterdir()
    secrets = [file.read_text() for file in kept if not file.name.endswith("-port")]
    command_lines = "\n".join(" ".join(process.cmdline()) for process in stack.processes())
    assert not [secret for secret in secrets if secret in command_lines]
    readable = [path for path in stack.data_dir.iterdir() if path.stat().st_mode & 0o044]
    assert readable == []


def test_the_application_takes_less_than_400_mb(stack: StackProcess) -> None:
    """Programs share what they load: each page counts once, however many use it."""
    mb = dict.fromkeys(("api", "money", "scans", "beat", "flower"), 0.0)
    for name in mb:
        program = psutil.Process(stack.pid_of(name))
        for process in (program, *program.children(recursive=True)):
            mb[name] += process.memory_full_info().pss / 2**20
    assert sum(mb.values()) < 400, mb


@pytest.mark.parametrize("program", [*PROGRAMS, "supervisord"])
def test_what_is_killed_comes_back(stack: StackProcess, program: str) -> None:
    if program == "supervisord":
        victim = psutil.Process(int((stack.data_dir / "run" / "supervisord.pid").read_text()))
        victims = [victim, *victim.children(recursive=True)]
    else:
        victim = psutil.Process(stack.pid_of(program))
        victims = [victim]
    restarted = PROGRAMS if program == "supervisord" else (program,)
    old_pids = {name: stack.pid_of(name) for name in restarted}
    victim.send_signal(signal.SIGKILL)
    eventually("the end", lambda: gone(victims))
    eventually("a new start", lambda: all(stack.pid_of(n) != pid for n, pid in old_pids.items()))
    eventually("a settled transfer", stack.settles_a_transfer)
    assert "ended" in stack.text()


def test_without_internet_it_is_healthy_and_says_that_its_prices_are_static(
    stack: StackProcess,
) -> None:
    eventually(
        "a look at Binance",
        lambda: "no_prices_from_binance" in (stack.data_dir / "logs" / "scans.log").read_text(),
    )
    assert stack.price_sources() == {"static"}
    health = requests.get(f"{stack.url}/health", timeout=10)
    assert health.status_code == requests.codes.ok
    assert health.json()["components"]["prices"]["detail"].startswith("static: ")


def test_what_hangs_is_ended_and_comes_back(stack: StackProcess) -> None:
    eventually("a settled transfer", stack.settles_a_transfer)
    hung = ("money", "scans", "beat")
    # A process that is still starting is given more time.
    eventually("heartbeats", lambda: all(map(stack.beats_for_a_while, hung)))
    old_pids = {name: stack.pid_of(name) for name in hung}
    for pid in old_pids.values():
        psutil.Process(pid).send_signal(signal.SIGSTOP)
    accepted = stack.transfer().json()
    assert accepted["state"] == "accepted"
    eventually("a new start", lambda: all(stack.pid_of(n) != pid for n, pid in old_pids.items()))
    eventually("a settled transfer", stack.settles_a_transfer)
    eventually("the end of what waited", lambda: stack.state_of(accepted["id"]) == "committed")
    for name in hung:
        assert f"truepenny: {name} hangs: no heartbeat" in stack.text()


def test_a_broker_that_may_lose_messages_is_reported_in_plain_words(stack: StackProcess) -> None:
    kept_values = KeptValues(stack.data_dir / "secrets")
    port, password = kept_values.read("broker-port"), kept_values.read("broker-password")
    with redis.Redis.from_url(f"redis://:{password}@127.0.0.1:{port}/0") as broker:
        broker.config_set("maxmemory-policy", "allkeys-lru")
        report = requests.get(f"{stack.url}/health", timeout=10).json()
        assert report["components"]["broker"]["status"] == "degraded"
        assert "deletes messages" in report["components"]["broker"]["detail"]
        eventually("the warning", lambda: "server_amiss server=broker" in stack.text())
        broker.config_set("maxmemory-policy", "noeviction")


def test_a_second_make_up_says_that_one_runs_and_harms_nothing(stack: StackProcess) -> None:
    result = run_make_up(stack)
    assert result.returncode != 0
    (complaint,) = complaints(result)
    assert complaint == f"truepenny: `make up` is already running with DATA_DIR {stack.data_dir}"
    assert stack.settles_a_transfer()


def test_the_application_does_not_own_its_tables(stack: StackProcess) -> None:
    key = (stack.data_dir / "secrets" / "admin-api-key").read_text()
    headers = {"Authorization": f"Bearer {key}"}
    overview = requests.get(f"{stack.url}/v1/ops/overview", headers=headers, timeout=10).json()
    assert overview["transfers"]["states"]["committed"] is not None
    assert overview["warnings"] == []
    logs = [log.read_text() for log in (stack.data_dir / "logs").glob("*.log")]
    assert not any("application_owns_its_tables" in log for log in logs)
