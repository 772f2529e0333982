"""The program of `make up`: runs all of Truepenny on one machine, until Ctrl-C.

It starts servers, migrates, starts the application, prints a summary, and then watches. However
this process ends, everything that it started ends too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from monitoring.heartbeats import heartbeat_files
from settings import Settings
from stack.demo.api_client import Api, ApiError
from stack.demo.wallets import Demo, curl_line, ensure_demo
from stack.errors import StackError
from stack.plan import Folders, Plan, make_plan, read_settings, secret_file
from stack.processes import reaper
from stack.processes.hang_watchdog import HangWatchdog
from stack.processes.locks import Lock, take_data_folder
from stack.processes.log_tail import LogTail
from stack.processes.migrate import migrate
from stack.processes.signals import StopRequested, StopSignals
from stack.processes.supervisor import Supervisor, configuration
from stack.servers.external import shown_address
from stack.servers.ports import is_free, reachable
from stack.servers.server import wait_until_up

ROOT = Path(__file__).resolve().parent.parent
_EXTERNAL_UP_WITHIN_S = 5.0
_UP_WITHIN_S = 120.0
_PORTS_FREE_WITHIN_S = 15.0
_WATCH_EVERY_S = 0.5


def main() -> int:
    """Run the stack until it is stopped. Returns: the exit code, 0 after a stop in order."""
    signals = StopSignals()
    reaper.adopt_orphans()
    try:
        up(os.environ, signals)
    except StackError as error:
        say(str(error))
        return 1
    except StopRequested:
        say("stopped")
    return 0


def up(environment: Mapping[str, str], signals: StopSignals) -> None:
    """Start everything, print the summary, and watch until a signal comes.

    Raises:
        StackError: when something cannot start; everything has been stopped again.
        StopRequested: when a signal came; everything has been stopped.
    """
    settings = read_settings(environment)
    folders = Folders(settings.data_dir)
    folders.make(for_all=os.geteuid() == 0)
    _, managers_lock = take_data_folder(folders.run, pause=signals.pause, say=say)
    check_ports(settings, folders, signals)
    plan = make_plan(environment, folders, say)
    for server in plan.given:
        wait_until_up(server, timeout_s=_EXTERNAL_UP_WITHIN_S, pause=signals.pause)
    say(f"starting, with data and logs in {folders.data}")
    for own in plan.servers:
        signals.pause(0)
        own.prepare()
    with supervised(plan, managers_lock) as supervisor:
        admin = bring_up(plan, supervisor, signals)
        has_admin_key = is_admin_key_known(plan, admin)
        demo = None
        if plan.wants_demo and has_admin_key:
            demo = ensure_demo(admin, folders.kept_values, pause=signals.pause)
        print(summary(plan, admin, demo, has_admin_key=has_admin_key), flush=True)
        watch(plan, supervisor, signals)


def check_ports(settings: Settings, folders: Folders, signals: StopSignals) -> None:
    """Check that the two public ports are free.

    Raises: StackError: when one is not.
    """
    # An earlier run that was killed leaves this file, and perhaps processes that are ending.
    deadline_s = time.monotonic() + (_PORTS_FREE_WITHIN_S if folders.ready.exists() else 0)
    for name, port in (("PORT", settings.port), ("FLOWER_PORT", settings.flower_port)):
        while True:
            try:
                if is_free(settings.host, port):
                    break
            except OSError as error:
                address = f"{settings.host} port {port}"
                raise StackError(f"cannot listen on {address}: {error.strerror}") from error
            if time.monotonic() >= deadline_s:
                raise StackError(f"port {port} is in use: stop what uses it or set {name}")
            signals.pause(0.1)
    if settings.port == settings.flower_port:
        raise StackError(f"PORT and FLOWER_PORT are both {settings.port}")


@contextmanager
def supervised(plan: Plan, lock: Lock) -> Iterator[Supervisor]:
    """Run all programs of the plan under supervisor, and stop them at the end."""
    folders = plan.folders
    folders.ready.unlink(missing_ok=True)
    file = folders.run / "supervisord.conf"
    file.write_text(
        configuration(servers=plan.server_programs, app=plan.app_programs, directory=ROOT)
    )
    supervisor = Supervisor(file, directory=ROOT, environment=plan.environment, lock=lock)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.request_stop()
        say("stopping")
        supervisor.wait()
        folders.ready.unlink(missing_ok=True)


def bring_up(plan: Plan, supervisor: Supervisor, signals: StopSignals) -> Api:
    """Wait for the servers, migrate, let the application start, and wait for it.

    Returns: the API, with the key of the admin.
    """
    folders = plan.folders
    wait = partial(
        wait_until_up, timeout_s=_UP_WITHIN_S, pause=signals.pause, is_running=supervisor.is_running
    )
    for server in plan.servers:
        wait(server)
    migrate(
        ROOT,
        plan.migrations_environment,
        folders.logs / "migrations.log",
        # A key that was generated here becomes an admin's only in a database without an admin.
        options=["--first-admin-only"] if "ADMIN_API_KEY" in plan.generated else [],
        pause=signals.pause,
    )
    folders.ready.touch()
    host = reachable(plan.settings.host)
    admin = Api(host, plan.settings.port, plan.environment["ADMIN_API_KEY"])
    wait(admin)
    return admin


def is_admin_key_known(plan: Plan, admin: Api) -> bool:
    """Return whether the API knows our admin key. A key generated in this run is deleted if not.

    A key of an earlier run is kept: it may be the only one for the database of that run.
    Raises: StackError: when the API answers otherwise.
    """
    try:
        is_known = admin.knows_key()
    except (ApiError, OSError) as error:
        raise StackError(f"the API gave an unexpected answer: {error}") from error
    if not is_known and "ADMIN_API_KEY" in plan.generated_now:
        plan.folders.kept_values.forget(secret_file("ADMIN_API_KEY"))
    return is_known


def summary(plan: Plan, admin: Api, demo: Demo | None, *, has_admin_key: bool) -> str:
    """Return the text that is printed once everything runs: addresses, keys, folders, a command."""
    flower = replace(admin, port=plan.settings.flower_port)
    login = "as given in FLOWER_BASIC_AUTH"
    if "FLOWER_BASIC_AUTH" in plan.generated:
        login = plan.environment["FLOWER_BASIC_AUTH"]
    lines = [
        "",
        "Truepenny is running. Ctrl-C stops it and keeps its data.",
        "",
        f"  Wallets    {admin.url}   (needs a key)",
        f"  Operations {admin.url}/ops   (needs the admin key)",
        f"  API        {admin.url}/v1   (reference at {admin.url}/docs)",
        f"  Flower     {flower.url}   ({login})",
        *(f"  {label:<10} {place}" for label, place in locations(plan)),
        *([f"  demo key   {demo.api_key}"] if demo else []),
        f"  admin key  {_admin_key(plan, has_admin_key=has_admin_key)}",
        "",
    ]
    if demo:
        lines += ["Move money:", "", curl_line(admin, demo), ""]
    elif plan.wants_demo:
        lines += ["There is no demo: to make it, give the admin key in ADMIN_API_KEY.", ""]
    else:
        lines += ["There is no demo, because DATABASE_URL is given. DEMO=yes makes one there.", ""]
    return "\n".join(lines)


def locations(plan: Plan) -> list[tuple[str, str]]:
    """Return the places of data, logs and secrets, each with its label."""
    folders = plan.folders
    ours = [server.name for server in plan.servers]
    places = [f"{given.kind} at {shown_address(given.url)}" for given in plan.given]
    if ours:
        # The folder may be a link to one that the servers' account can enter.
        places.insert(0, f"{(folders.data / 'servers').resolve()} ({', '.join(ours)})")
    return [
        *(("Data" if number == 0 else "", place) for number, place in enumerate(places)),
        ("Logs", str(folders.logs)),
        ("Secrets", str(folders.kept_values.folder)),
    ]


def _admin_key(plan: Plan, *, has_admin_key: bool) -> str:
    is_generated = "ADMIN_API_KEY" in plan.generated
    if has_admin_key:
        place = f"in {plan.folders.kept_values.path(secret_file('ADMIN_API_KEY'))}"
        return place if is_generated else "as given in ADMIN_API_KEY"
    replace_it = "a new one in ADMIN_API_KEY replaces it"
    if is_generated:
        why = "this database already has an admin, whose key was made elsewhere"
        return f"unknown: {why}; {replace_it}"
    return f"refused: the one in ADMIN_API_KEY was replaced or revoked before; {replace_it}"


def watch(plan: Plan, supervisor: Supervisor, signals: StopSignals) -> None:
    """Print serious log lines, end programs that hang, and restart supervisor if it dies.

    Raises: StopRequested: when a signal came. It never returns.
    """
    programs = (*plan.server_programs, *plan.app_programs)
    names = ("supervisord", *(program.name for program in programs))
    tails = [LogTail(plan.folders.logs / f"{name}.log") for name in names]
    watchdog = HangWatchdog(
        names=[program.name for program in programs if program.has_heartbeat],
        run=plan.folders.run,
        heartbeats=heartbeat_files.folder(plan.settings.data_dir),
        hung_after_s=plan.settings.hung_after_s,
        say=say,
    )
    while True:
        signals.pause(_WATCH_EVERY_S)
        for tail in tails:
            for line in tail.important_lines():
                say(line)
        watchdog.check()
        if supervisor.revive():
            say("the process manager ended: restarted it with all programs")


def say(line: str) -> None:
    """Print a line on the terminal."""
    print(f"truepenny: {line}", file=sys.stderr, flush=True)
