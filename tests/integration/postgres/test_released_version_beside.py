"""The released version beside this one, during a deployment: its claims on the newest schema."""

from __future__ import annotations

import time
from uuid import UUID

from sqlalchemy import text

from ledger.funds import waits
from ledger.ids import new_id
from ledger.postgres.database import transaction
from testing.bank import Bank

# As version 1.0.0 claims. Its index `unfinished_unclaimed` leaves out those that wait since 0012.
CLAIM = text("""
    WITH longest_waiting AS (
        SELECT transfer_id FROM unfinished WHERE batch_id IS NULL
        ORDER BY seq LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    UPDATE unfinished SET batch_id = :batch, moved_at = statement_timestamp(),
        state = 'reserved', reserved_at = statement_timestamp()
    WHERE transfer_id IN (SELECT transfer_id FROM longest_waiting)
""")
# The rest of its reserve, for the transfers of one source that has enough.
HOLD = text("""
    UPDATE wallets SET reserved = reserved + total FROM (
        SELECT source_id, sum(amount) AS total FROM unfinished WHERE batch_id = :batch
        GROUP BY source_id) AS held
    WHERE wallets.id = held.source_id
""")
BACKLOG = 50_000
CLAIMED_WITHIN_S = 2.0


def reserve_as_released(bank: Bank, batch: UUID) -> float:
    """Reserve as version 1.0.0 does. Returns: the time that its claim took."""
    with transaction(bank.engine) as connection:
        began_s = time.monotonic()
        connection.execute(CLAIM, {"batch": batch})
        took_s = time.monotonic() - began_s
        connection.execute(HOLD, {"batch": batch})
    return took_s


def ended(bank: Bank, batch: UUID) -> UUID:
    with transaction(bank.engine) as connection:
        query = text("SELECT transfer_id FROM outcomes WHERE batch_id = :batch")
        id: UUID = connection.execute(query, {"batch": batch}).scalar_one()
    return id


def test_what_it_claims_although_it_waits_is_settled_and_its_wait_ends(bank: Bank) -> None:
    rich, middle, last = bank.wallet(100), bank.wallet(), bank.wallet()
    first = bank.reach("credited", bank.request(rich, middle, 100))
    [waiting] = bank.accept(bank.request(middle, last, 60))
    bank.step("reserve", new_id())
    assert bank.timeline(waiting).count("waiting") == 1
    bank.step("commit", first)
    with transaction(bank.engine) as connection:  # as a commit of version 1.0.0 leaves it
        connection.execute(
            text("UPDATE unfinished SET waits_for = :id"), {"id": ended(bank, first)}
        )
    batch = new_id()
    reserve_as_released(bank, batch)
    with transaction(bank.engine) as connection:
        waits.release_ended(connection)
    for step in ("deduct", "credit", "commit"):
        bank.step(step, batch)
    assert bank.state(waiting) == "committed"
    bank.audit()


def test_its_claims_stay_quick_behind_a_backlog(bank: Bank) -> None:
    source, destination = bank.wallet(1), bank.wallet()
    bank.accept(bank.request(source, destination, 1))
    with transaction(bank.engine) as connection:
        connection.execute(  # made quickly, and without money
            text("""INSERT INTO unfinished (transfer_id, source_id, transit_id, destination_id,
                        amount) SELECT gen_random_uuid(), source_id, transit_id, destination_id, 1
                    FROM unfinished, generate_series(1, :more)"""),
            {"more": BACKLOG},
        )
    took_s = []
    for _ in range(5):
        with transaction(bank.engine) as connection:
            began_s = time.monotonic()
            assert connection.execute(CLAIM, {"batch": new_id()}).rowcount == 1_000
            took_s.append(time.monotonic() - began_s)
    assert sorted(took_s)[2] < CLAIMED_WITHIN_S
