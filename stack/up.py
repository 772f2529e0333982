"""`make up`: everything that Truepenny is, on one machine, until Ctrl-C.

Starts servers, migrates, starts the application and shows the way in; then watches. Whatever
ends this process, in whatever way, everything it started ends too.
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
from stack.processes.maker import end_with_make
from stack.processes.migrate import migrate
from stack.processes.signals import StopRequested, StopSignals
from stack.processes.supervisor import Supervisor, configuration
from stack.servers.external import shown_address
from stack.servers.ports import is_free, reachable
from stack.servers.server import wait_until_up

ROOT = Path(__file__).resolve().parent.parent
_GIVEN_WITHIN_S = 5.0
_UP_WITHIN_S = 120.0
_PORTS_FREE_WITHIN_S = 15.0
_WATCH_EVERY_S = 0.5


def main() -> int:
    """Run the stack until somebody stops it. The exit code is 0 when that went well."""
    signals = StopSignals()
    end_with_make()
    reaper.adopt()
    try:
        up(os.environ, signals)
    except StackError as error:
        say(str(error))
        return 1
    except StopRequested:
        say("stopped")
    return 0


def up(environment: Mapping[str, str], signals: StopSignals) -> None:
    """Start everything, show the way in, and watch until a signal comes.

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
        wait_until_up(server, timeout_s=_GIVEN_WITHIN_S, pause=signals.pause)
    say(f"starting, with data and logs in {folders.data}")
    for own in plan.servers:
        signals.pause(0)
        own.prepare()
    with supervised(plan, managers_lock) as supervisor:
        admin = bring_up(plan, supervisor, signals)
        has_admin_key = find_out_about_key(plan, admin)
        demo = None
        if plan.wants_demo and has_admin_key:
            demo = ensure_demo(admin, folders.keep, pause=signals.pause)
        print(way_in(plan, admin, demo, has_admin_key=has_admin_key), flush=True)
        watch(plan, supervisor, signals)


def check_ports(settings: Settings, folders: Folders, signals: StopSignals) -> None:
    """Make sure that the two public ports are free.

    Raises: StackError: when one is not.
    """
    # An earlier run that was killed as a whole leaves this file, and maybe dying processes.
    deadline = time.monotonic() + (_PORTS_FREE_WITHIN_S if folders.ready.exists() else 0)
    for name, port in (("PORT", settings.port), ("FLOWER_PORT", settings.flower_port)):
        while not _free(settings.host, port):
            if time.monotonic() >= deadline:
                raise StackError(f"port {port} is in use: stop what uses it or set {name}")
            signals.pause(0.1)
    if settings.port == settings.flower_port:
        raise StackError(f"PORT and FLOWER_PORT are both {settings.port}")


def _free(host: str, port: int) -> bool:
    try:
        return is_free(host, port)
    except OSError as error:
        raise StackError(f"cannot listen on {host} port {port}: {error.strerror}") from error


@contextmanager
def supervised(plan: Plan, lock: Lock) -> Iterator[Supervisor]:
    """Run all programs of the plan under supervisor, and stop them at the end."""
    folders = plan.folders
    folders.ready.unlink(missing_ok=True)
    file = folders.run / "supervisord.conf"
    file.write_text(
        configuration(servers=plan.server_programs, app=plan.app_programs, directory=ROOT)
    )
    supervisor = Supervisor(file, folder=folders.data, environment=plan.environment, lock=lock)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.request_stop()
        say("stopping")
        supervisor.wait()
        folders.ready.unlink(missing_ok=True)


def bring_up(plan: Plan, supervisor: Supervisor, signals: StopSignals) -> Api:
    """Wait for the servers, migrate, let the application start and wait for it."""
    folders = plan.folders
    wait = partial(
        wait_until_up, timeout_s=_UP_WITHIN_S, pause=signals.pause, lives=supervisor.lives
    )
    for server in plan.servers:
        wait(server)
    migrate(
        ROOT,
        plan.environment,
        folders.logs / "migrations.log",
        # A key that was made here is an admin's only in a database that has no admin yet.
        options=["--first-admin-only"] if "ADMIN_API_KEY" in plan.kept else [],
        pause=signals.pause,
    )
    folders.ready.touch()
    host = reachable(plan.settings.host)
    admin = Api(host, plan.settings.port, plan.environment["ADMIN_API_KEY"])
    wait(admin)
    return admin


def find_out_about_key(plan: Plan, admin: Api) -> bool:
    """Whether our admin key is one. One that was made for nothing is removed.

    A key of an earlier run is kept: it may be the only one to the database of that run.
    Raises: StackError: when the API cannot tell.
    """
    try:
        is_known = admin.knows_key()
    except (ApiError, OSError) as error:
        raise StackError(f"the API does not answer as it should: {error}") from error
    if not is_known and "ADMIN_API_KEY" in plan.made:
        plan.folders.keep.forget(secret_file("ADMIN_API_KEY"))
    return is_known


def way_in(plan: Plan, admin: Api, demo: Demo | None, *, has_admin_key: bool) -> str:
    """Addresses, keys, where the data is, and a line to paste."""
    flower = replace(admin, port=plan.settings.flower_port)
    is_made_here = "FLOWER_BASIC_AUTH" in plan.kept
    login = (
        plan.environment["FLOWER_BASIC_AUTH"] if is_made_here else "as given in FLOWER_BASIC_AUTH"
    )
    lines = [
        "",
        "Truepenny is up. Ctrl-C stops it; its data stays.",
        "",
        f"  Wallets    {admin.url}   (asks for a key)",
        f"  Operations {admin.url}/ops   (asks for the admin key)",
        f"  API        {admin.url}/v1   (reference at {admin.url}/docs)",
        f"  Flower     {flower.url}   ({login})",
        *(f"  {label:<10} {place}" for label, place in whereabouts(plan)),
        *([f"  demo key   {demo.api_key}"] if demo else []),
        f"  admin key  {_admin_key(plan, has_admin_key=has_admin_key)}",
        "",
    ]
    if demo:
        lines += ["Move money:", "", curl_line(admin, demo), ""]
    elif plan.wants_demo:
        lines += ["No demo was made: that needs the admin's key in ADMIN_API_KEY.", ""]
    else:
        lines += ["No demo was made in a database that was given. DEMO=yes makes one.", ""]
    return "\n".join(lines)


def whereabouts(plan: Plan) -> list[tuple[str, str]]:
    """Where the data, the logs and the secrets are, each with its label."""
    folders = plan.folders
    ours = [server.name for server in plan.servers]
    places = [f"{given.kind} at {shown_address(given.url)}" for given in plan.given]
    if ours:
        # The folder may be a link to where the servers' account can enter.
        places.insert(0, f"{(folders.data / 'servers').resolve()} ({', '.join(ours)})")
    return [
        *(("Data" if number == 0 else "", place) for number, place in enumerate(places)),
        ("Logs", str(folders.logs)),
        ("Secrets", str(folders.keep.folder)),
    ]


def _admin_key(plan: Plan, *, has_admin_key: bool) -> str:
    if "ADMIN_API_KEY" not in plan.kept:
        return "as given in ADMIN_API_KEY"
    if has_admin_key:
        return f"in {plan.folders.keep.path(secret_file('ADMIN_API_KEY'))}"
    return "not known here: this database has an admin already, whose key was made elsewhere"


def watch(plan: Plan, supervisor: Supervisor, signals: StopSignals) -> None:
    """Pass on what the logs say that matters, end what hangs, and revive supervisor itself.

    Raises: StopRequested: when a signal came; there is no other end.
    """
    programs = (*plan.server_programs, *plan.app_programs)
    names = ("supervisord", *(program.name for program in programs))
    followers = [LogTail(plan.folders.logs / f"{name}.log") for name in names]
    hangs = HangWatchdog(
        names=[program.name for program in programs if program.has_heartbeat],
        run=plan.folders.run,
        heartbeats=heartbeat_files.folder(plan.settings.data_dir),
        hung_after_s=plan.settings.hung_after_s,
        say=say,
    )
    while True:
        signals.pause(_WATCH_EVERY_S)
        for follower in followers:
            for line in follower.important_lines():
                say(line)
        hangs.look()
        if supervisor.revive():
            say("the process manager ended: started it again, and everything with it")


def say(line: str) -> None:
    """Tell the person at the terminal."""
    print(f"truepenny: {line}", file=sys.stderr, flush=True)
