"""Ledger reader: reads the ledger in the database's container and over HTTP, and audits it."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from uuid import UUID

from stack.demo.api_client import Api
from stack.demo.wallets import Demo
from testing.bank import AUDIT
from tests.containers.docker_engine import EngineError, Project
from tests.containers.traffic import Traffic

_PSQL = (
    "PGPASSWORD=$(cat /run/secrets/database_password) exec psql --no-psqlrc --quiet --tuples-only"
    " --no-align -v ON_ERROR_STOP=1 --host 127.0.0.1 --username truepenny"
)
_ENDS = """
CREATE TEMPORARY TABLE sent (id uuid PRIMARY KEY);
COPY sent FROM STDIN;
{ids}
\\.
SELECT coalesce(o.state, u.state, 'nowhere'), count(*)
FROM sent LEFT JOIN outcomes o ON o.transfer_id = sent.id
LEFT JOIN unfinished u ON u.transfer_id = sent.id GROUP BY 1;
"""


class LedgerReader:
    """Checks all transfers that are accepted from now on."""

    def __init__(self, project: Project, admin: Api, demo: Demo) -> None:
        self._project = project
        self._admin = admin
        self._demo = demo
        self._at_first = self.destination()

    def states(self, transfers: Iterable[UUID]) -> dict[str, int]:
        """Count these transfers by state; `nowhere` counts those missing from the database."""
        ids = "\n".join(str(id) for id in transfers)
        lines = self._ask(_ENDS.format(ids=ids)).split()
        return {state: int(count) for state, _, count in (line.partition("|") for line in lines)}

    def all_committed(self, transfers: list[UUID]) -> bool:
        """Return whether all of these are committed; False while the database is away."""
        try:
            return self.states(transfers) == {"committed": len(transfers)}
        except EngineError:
            return False

    def destination(self) -> Decimal:
        """Return the destination's balance, as the API reports it."""
        return Decimal(self._admin.get(f"/v1/wallets/{self._demo.destination}")["available"])

    def audit(self, traffic: Traffic) -> str:
        """Check everything. Returns: a summary. Raises: EngineError: says what is wrong."""
        transfers = list(traffic.accepted.values())
        if traffic.refusals:
            raise EngineError(f"a transfer was refused: {traffic.refusals[0]}")
        if len(set(transfers)) != len(transfers):
            raise EngineError("two keys were given one transfer")
        if not self.all_committed(transfers):
            raise EngineError(f"not all have ended well: {self.states(transfers)}")
        wrong = self._ask(AUDIT)
        if wrong:
            raise EngineError(f"the books are wrong: {wrong}")
        moved = self.destination() - self._at_first
        if moved != len(transfers) * Decimal(traffic.body["amount"]):
            raise EngineError(f"{len(transfers)} transfers moved {moved}")
        return f"{len(transfers)} accepted, each committed once, {moved} moved; the books balance"

    def _ask(self, statements: str) -> str:
        return self._project.execute("postgres", "sh", "-c", _PSQL, given=statements).strip()
