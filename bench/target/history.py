"""History: fills the ledger with settled transfers, as if they had passed through the steps.

It writes what the steps would have written into every table, through all triggers and indexes, so
that the consistency scan finds nothing. Money goes round in a circle of the wallets, one cent from
each to the next, so every balance ends as it began.
"""

from __future__ import annotations

import io
import uuid
from contextlib import closing
from typing import Any
from uuid import UUID

import psycopg2
from psycopg2.extras import register_uuid

from bench.target.accounts import Accounts
from bench.target.running_stack import RunningStack
from ledger.acceptance import TransferRequest, fingerprint
from ledger.clients import Client
from ledger.ids import transfer_id

_AT_ONCE = 50_000


def load_history(stack: RunningStack, accounts: Accounts, *, count: int) -> None:
    """Load this many transfers, or some more, for whole rounds. No transfer may be under way."""
    register_uuid()  # type: ignore[no-untyped-call]
    circle = [UUID(wallet) for wallet in accounts.wallets]
    with closing(psycopg2.connect(stack.owner_url, application_name="bench")) as connection:
        _load(connection, accounts, circle, -(-count // len(circle)) * len(circle))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE) transfers, outcomes, postings, wallets")
    with closing(psycopg2.connect(stack.superuser_url)) as superuser:
        superuser.autocommit = True
        with superuser.cursor() as cursor:
            cursor.execute("CHECKPOINT")


def _load(connection: Any, accounts: Accounts, circle: list[UUID], total: int) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        cursor.execute(_STAGE)
        cursor.execute(_BALANCES, [circle])
        balances = [int(balance) for (balance,) in cursor.fetchall()]
    values: dict[str, Any] = {"circle": circle, "balances": balances, "at": None}
    values |= {"client": UUID(accounts.client_id)}
    for start in range(0, total, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, total))
        with connection, connection.cursor() as cursor:
            cursor.execute("TRUNCATE staged")
            cursor.copy_expert("COPY staged FROM STDIN", _staged(accounts, circle, numbers))
            cursor.execute("ANALYZE staged")
            for statement in _LOAD:
                cursor.execute(statement, values)
            values["at"] = cursor.fetchone()[0]
    with connection, connection.cursor() as cursor:
        cursor.execute(_SET_CLOCKS, values)
        cursor.execute(_SET_COUNTS)


def _staged(accounts: Accounts, circle: list[UUID], numbers: range) -> io.StringIO:
    """Return the transfers for COPY: number, and id, key and fingerprint as the API has them."""
    prefix = uuid.uuid4().hex
    client = Client(UUID(accounts.client_id), "bench", "client", "none")
    lines = io.StringIO()
    for number in numbers:
        key, place = f"{prefix}-{number}", number % len(circle)
        source_id, destination_id = circle[place], circle[(place + 1) % len(circle)]
        request = TransferRequest(client, key, source_id, destination_id, "USD", 2, 1)
        id_, digest = transfer_id(client.id, key), fingerprint(request).hex()
        lines.write(f"{number}\t{id_}\t{key}\t\\\\x{digest}\n")
    lines.seek(0)
    return lines


_STAGE = """
CREATE TEMPORARY TABLE staged (n bigint, id uuid, key text, fingerprint bytea)
"""

_BALANCES = """
SELECT balance FROM unnest(%s) WITH ORDINALITY AS circle (id, n) JOIN wallets USING (id) ORDER BY n
"""

# A transfer of the circle takes 20 microseconds here. `at` is the end of the part before: a part
# that is loaded faster than that must not begin before it.
_PLACED = """
WITH one AS (
    SELECT cardinality(%(circle)s) AS size, transit.id AS transit_id,
           greatest(now(), %(at)s::timestamptz) + interval '1 microsecond' AS began_at,
           (SELECT min(n) FROM staged) AS first_n
    FROM wallets AS transit WHERE transit.asset = 'USD' AND transit.kind = 'transit'
), placed AS (
    SELECT staged.*, began_at + (n - first_n) * interval '20 microseconds' AS at, transit_id,
           (%(circle)s)[n %% size + 1] AS source_id,
           (%(circle)s)[(n + 1) %% size + 1] AS destination_id,
           -- The first of the circle pays before it is paid, all others after that.
           (%(balances)s::numeric[])[n %% size + 1]
               - CASE WHEN n %% size = 0 THEN 1 ELSE 0 END AS source_balance_after,
           (%(balances)s::numeric[])[(n + 1) %% size + 1]
               + CASE WHEN (n + 1) %% size = 0 THEN 0 ELSE 1 END AS destination_balance_after
    FROM staged, one
)
"""

_LOAD = tuple(
    _PLACED + statement
    for statement in (
        """
        INSERT INTO transfers (id, client_id, idempotency_key, fingerprint, source_id,
                               destination_id, source_owner_id, destination_owner_id, asset,
                               amount, created_at)
        SELECT id, %(client)s, key, fingerprint, source_id, destination_id, %(client)s, %(client)s,
               'USD', 1, at
        FROM placed ORDER BY n
        """,
        """
        INSERT INTO postings (transfer_id, leg, debit_wallet_id, credit_wallet_id, amount,
                              debit_balance_after, credit_balance_after, created_at)
        SELECT id, leg, debit_id, credit_id, 1, debit_balance, credit_balance, at + leg_after
        FROM placed CROSS JOIN LATERAL (VALUES
            ('deduct', source_id, transit_id, source_balance_after, 1,
             interval '10 microseconds'),
            ('credit', transit_id, destination_id, 0, destination_balance_after,
             interval '15 microseconds')
        ) AS legs (leg, debit_id, credit_id, debit_balance, credit_balance, leg_after)
        ORDER BY n, leg_after
        """,
        """
        INSERT INTO outcomes (transfer_id, state, batch_id, reserved_at, deducted_at, credited_at,
                              finished_at)
        SELECT id, 'committed', md5(date_trunc('milliseconds', at)::text)::uuid,
               at + interval '5 microseconds', at + interval '10 microseconds',
               at + interval '15 microseconds', at + interval '19 microseconds'
        FROM placed ORDER BY n
        """,
        "SELECT max(at) + interval '20 microseconds' FROM placed",
    )
)

# The time of its newest posting is each wallet's clock.
_SET_CLOCKS = """
UPDATE wallets SET posted_at = greatest(posted_at,
    (SELECT max(created_at) FROM postings WHERE debit_wallet_id = wallets.id),
    (SELECT max(created_at) FROM postings WHERE credit_wallet_id = wallets.id))
WHERE id = ANY (%(circle)s) OR asset = 'USD' AND kind = 'transit'
"""

# So that the count of ended transfers need not read all of these.
_SET_COUNTS = """
UPDATE ended_counts SET up_to = now(), count = (
    SELECT count(*) FROM outcomes
    WHERE outcomes.state = ended_counts.state AND finished_at < now())
"""
