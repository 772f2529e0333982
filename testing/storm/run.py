"""One run of a storm: sets the clients up, lets clients and nemesis loose, and waits for calm."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from ledger.clients import create_client
from ledger.money import format_amount
from ledger.postgres.database import transaction
from ledger.states import FINISHED
from settings import Settings
from tasks.buffer.intake_buffer import intake_buffer
from testing.bank import Bank
from testing.standstill import standstill_report
from testing.storm.clients import Account, Process, poll
from testing.storm.history import Recorder
from testing.storm.installation import Installation
from testing.storm.nemesis import Nemesis
from testing.storm.plan import ASSETS, CLIENTS, FUNDS_MINOR, STUCK_AT_ONCE_S, Plan
from testing.storm.scene import Scene

CONVERGE_WITHIN_S = 15.0
_GIVE_UP_S = 20.0
_AGAIN_S = 0.2


@dataclass
class Storm:
    """The clients of a storm, and what it breaks."""

    plan: Plan
    installation: Installation
    recorder: Recorder

    def run(self) -> bool:
        """Run it. Returns: whether everything became final in the end."""
        self.recorder.write(
            "run",
            seed=self.plan.seed,
            seconds=self.plan.seconds,
            broker=self.plan.broker,
            stuck_after_s=self.plan.stuck_after_s,
            converge_within_s=CONVERGE_WITHIN_S,
            counters=self.plan.counters,
        )
        if self.plan.stuck_after_s == STUCK_AT_ONCE_S:
            self.recorder.count("everything is redriven at once")
        processes = self._processes()
        self._rage(processes)
        return self._calm(processes["admin"], processes["poller"])

    def _processes(self) -> dict[str, Process]:
        """Make clients, wallets and keys, and pay every wallet its funds."""
        bank = Bank(self.installation.engine)
        accounts: dict[str, Account] = {}
        with transaction(self.installation.engine) as connection:
            for name in (*CLIENTS, "admin"):
                scope: Any = "admin" if name == "admin" else "client"
                made, secret = create_client(connection, name=name, scope=scope, rate_limit="none")
                accounts[name] = Account(name, str(made.id), secret, "")
                if name == "admin":
                    bank.admin = made
                else:
                    accounts[name].owner = made
        wallets = [
            bank.wallet(asset=asset, owner=accounts[client].owner)
            for client in CLIENTS
            for asset in ASSETS
        ]
        processes: dict[str, Process] = {}
        for number, name in enumerate(self.plan.operations, 1):
            of = accounts[name if name == "admin" else name[0] if name[0] in CLIENTS else "admin"]
            own = Account(of.name, of.id, of.api_key, "")
            process = Process(number, own, self.installation.port, self.recorder, wallets)
            made_key = process.ask(
                "POST", f"/v1/clients/{of.id}/keys", {"name": name}, {}, of.api_key
            )[1]
            own.api_key, own.key_id = made_key["api_key"], made_key["id"]
            processes[name] = process
        self._fund(processes["admin"], bank)
        return processes

    def _fund(self, admin: Process, bank: Bank) -> None:
        sources = {
            asset: bank.wallet(asset=asset, kind="external", owner=bank.admin) for asset in ASSETS
        }
        for number, wallet in enumerate(admin.wallets):
            source = sources[wallet.asset]
            body = {
                "source": str(source.id),
                "destination": str(wallet.id),
                "asset": wallet.asset,
                "amount": format_amount(FUNDS_MINOR, scale=wallet.scale),
                "reference": f"fund {number}",
            }
            key = f"fund-{number}"
            headers = {"Idempotency-Key": key, "Prefer": "wait=10"}
            admin.send(
                *("transfer", "POST", "/v1/transfers"),
                json=body,
                headers=headers,
                request=[body | {"key": key}],
            )

    def _rage(self, processes: dict[str, Process]) -> None:
        over = threading.Event()
        threads = [
            threading.Thread(target=each.run, args=(self.plan.operations[name], over), name=name)
            for name, each in processes.items()
        ]
        scene = Scene(self.installation, processes["admin"].wallets)
        for thread in threads:
            thread.start()
        try:
            Nemesis(self.plan, scene, self.recorder).run(self.installation.keep)
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _calm(self, admin: Process, poller: Process) -> bool:
        """Wait until everything is final, read it, and write the last lines."""
        began_s, asked_at = time.monotonic(), self.recorder.now()
        while not (final := self._read(admin)).is_final and time.monotonic() < began_s + _GIVE_UP_S:
            self.installation.keep()
            time.sleep(_AGAIN_S)
            asked_at = self.recorder.now()
        if not final.is_final:
            report = standstill_report(self.installation.engine, self.installation.workers)
            sys.stderr.write(f"storm: not everything became final\n{report}\n")
        time.sleep(_AGAIN_S)
        poll(poller, {})
        last = self._read(admin)
        self._count()
        self.recorder.write("counts", counts=dict(self.recorder.counts))
        self.recorder.write(
            "final", asked_at=asked_at, wallets=last.wallets, transfers=last.transfers
        )
        return final.is_final

    def _read(self, admin: Process) -> _Reading:
        """Read all wallets and transfers; without an answer, nothing is final."""
        nothing = _Reading([], [], is_final=False)
        status, wallets, _ = admin.ask(
            "GET", "/v1/wallets?limit=200", None, {}, admin.account.api_key
        )
        if status != 200:
            return nothing
        transfers: list[Any] = []
        cursor = ""
        while True:
            path = f"/v1/transfers?limit=200{cursor}"
            status, page, _ = admin.ask("GET", path, None, {}, admin.account.api_key)
            if status != 200:
                return nothing
            transfers += page["data"]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        is_final = all(each["state"] in FINISHED for each in transfers) and not self._buffered()
        return _Reading(wallets["data"], transfers, is_final=is_final)

    def _buffered(self) -> int:
        buffer = intake_buffer(Settings.from_environment(self.installation.direct))
        try:
            return buffer.count()
        finally:
            buffer.close()

    def _count(self) -> None:
        with self.installation.engine.connect() as connection:
            for name, count in connection.execute(text(_COUNTS)):
                self.recorder.count(name, count)


@dataclass(frozen=True)
class _Reading:
    wallets: list[Any]
    transfers: list[Any]
    is_final: bool


_COUNTS = """
SELECT event, count(*) FROM events GROUP BY event
UNION ALL SELECT 'ended as ' || state, count(*) FROM outcomes GROUP BY state
UNION ALL SELECT 'committed', count(*) FROM outcomes WHERE state = 'committed'
UNION ALL SELECT 'rolled back after credit', count(*) FROM outcomes
WHERE state = 'rolled_back' AND credited_at IS NOT NULL
"""
