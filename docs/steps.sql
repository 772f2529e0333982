-- SQL of the steps, as PostgreSQL gets it. `make steps-sql` writes this file; a test compares it.
-- Most of the steps' statements it gets once from each session, and then their names (PREPARE).
-- `:name` is a parameter; an array has one element for each transfer. Above each statement is
-- the function that sends it. A statement that was shown before is only named. Without BEGIN,
-- each statement is a transaction of its own.


------------------------------------------------------------------------------------------------
-- Accept
-- Records new requests, in line or rejected, and finds those that were recorded before.
------------------------------------------------------------------------------------------------

-- ledger/funds/door.py: read_wallets
SELECT
    wallets.id, wallets.owner_id, wallets.asset, wallets.kind, wallets.status,
    (wallets.balance - wallets.reserved) - wallets.incoming AS available,
    EXISTS (
        SELECT *
        FROM wallets AS transit
        WHERE transit.asset = wallets.asset
            AND transit.kind = 'transit'
    ) AS has_transit
FROM wallets
WHERE wallets.id = any(CAST(:ids AS UUID[]));

-- ledger/funds/door.py: read_prospects
SELECT
    wallets.id, (wallets.balance - wallets.reserved) - wallets.incoming AS available,
    (EXISTS (
        SELECT *
        FROM unfinished
        WHERE unfinished.destination_id = wallets.id
            AND unfinished.failure_code IS NULL
    )) OR (EXISTS (
        SELECT *
        FROM unfinished
        WHERE unfinished.source_id = wallets.id
            AND unfinished.failure_code IS NOT NULL
            AND unfinished.reserved_at IS NOT NULL
    )) AS expects_money
FROM wallets
WHERE wallets.id = any(CAST(:ids AS UUID[]));

-- ledger/acceptance.py: _record
WITH given AS (
    SELECT
        anon_1.id AS id, anon_1.client_id AS client_id,
        anon_1.idempotency_key AS idempotency_key, anon_1.fingerprint AS fingerprint,
        anon_1.source_id AS source_id, anon_1.destination_id AS destination_id,
        anon_1.source_owner_id AS source_owner_id,
        anon_1.destination_owner_id AS destination_owner_id, anon_1.asset AS asset,
        anon_1.amount AS amount, anon_1.reference AS reference,
        anon_1.metadata AS metadata, anon_1.failure_code AS failure_code,
        anon_1.failure_detail AS failure_detail, anon_1.position AS position
    FROM unnest(
        CAST(:id_array AS UUID[]), CAST(:client_id_array AS UUID[]),
        CAST(:idempotency_key_array AS TEXT[]), CAST(:fingerprint_array AS BYTEA[]),
        CAST(:source_id_array AS UUID[]), CAST(:destination_id_array AS UUID[]),
        CAST(:source_owner_id_array AS UUID[]),
        CAST(:destination_owner_id_array AS UUID[]), CAST(:asset_array AS TEXT[]),
        CAST(:amount_array AS NUMERIC(38, 0)[]), CAST(:reference_array AS TEXT[]),
        CAST(:metadata_array AS TEXT[]), CAST(:failure_code_array AS TEXT[]),
        CAST(:failure_detail_array AS TEXT[])
    ) WITH ORDINALITY AS anon_1(
        id, client_id, idempotency_key, fingerprint, source_id, destination_id,
        source_owner_id, destination_owner_id, asset, amount, reference, metadata,
        failure_code, failure_detail, position
    )
),
"new" AS (
    INSERT INTO transfers (
        id, client_id, idempotency_key, fingerprint, source_id, destination_id,
        source_owner_id, destination_owner_id, asset, amount, reference, metadata
    )
    SELECT
        given.id AS id, given.client_id AS client_id,
        given.idempotency_key AS idempotency_key, given.fingerprint AS fingerprint,
        given.source_id AS source_id, given.destination_id AS destination_id,
        given.source_owner_id AS source_owner_id,
        given.destination_owner_id AS destination_owner_id, given.asset AS asset,
        given.amount AS amount, given.reference AS reference,
        CAST(given.metadata AS JSONB) AS metadata
    FROM given
    WHERE NOT (EXISTS (
        SELECT *
        FROM refused_requests
        WHERE refused_requests.id = given.id
    ))
    ORDER BY given.id
    ON CONFLICT DO NOTHING
    RETURNING transfers.id, transfers.created_at
),
in_line AS (
    INSERT INTO unfinished (transfer_id, source_id, transit_id, destination_id, amount, turn)
    SELECT
        "new".id AS id, given.source_id AS source_id, transit.id AS id_1,
        given.destination_id AS destination_id, given.amount AS amount,
        CAST(md5(CAST(given.client_id AS TEXT)) AS UUID) AS md5_1
    FROM "new"
    JOIN given ON "new".id = given.id
    LEFT OUTER JOIN wallets AS transit ON transit.asset = given.asset
        AND transit.kind = 'transit'
    WHERE given.failure_code IS NULL
    ORDER BY given.position
),
refused AS (
    INSERT INTO outcomes (transfer_id, state, failure_code, failure_detail)
    SELECT
        "new".id AS id, 'rejected' AS anon_2, given.failure_code AS failure_code,
        given.failure_detail AS failure_detail
    FROM "new"
    JOIN given ON "new".id = given.id
    WHERE given.failure_code IS NOT NULL
)
SELECT "new".id, "new".created_at
FROM "new";

-- ledger/transfers.py: find_transfers
SELECT
    transfers.id, transfers.client_id, transfers.idempotency_key,
    transfers.fingerprint, transfers.source_id, transfers.destination_id,
    transfers.asset, transfers.amount, transfers.capture, transfers.expires_at,
    transfers.reference, transfers.metadata, transfers.refund_of, transfers.group_id,
    transfers.created_at, assets.scale,
    coalesce(outcomes.state, unfinished.state) AS state, outcomes.failure_code,
    outcomes.failure_detail,
    coalesce(outcomes.finished_at, unfinished.moved_at) AS updated_at,
    outcomes.finished_at,
    coalesce(outcomes.batch_id, unfinished.batch_id) AS batch_id,
    coalesce(outcomes.reserved_at, unfinished.reserved_at) AS reserved_at,
    coalesce(outcomes.deducted_at, unfinished.deducted_at) AS deducted_at,
    coalesce(outcomes.credited_at, unfinished.credited_at) AS credited_at
FROM transfers
JOIN assets ON assets.code = transfers.asset
LEFT OUTER JOIN unfinished ON unfinished.transfer_id = transfers.id
LEFT OUTER JOIN outcomes ON outcomes.transfer_id = transfers.id
WHERE transfers.id = any(:any_1);


------------------------------------------------------------------------------------------------
-- Reserve
-- Claims the longest waiting, rejects those that their source cannot pay or puts them back until it can, holds the rest.
------------------------------------------------------------------------------------------------

BEGIN;

-- ledger/batches.py: lock_batch
SELECT
    pg_advisory_xact_lock(:key) AS pg_advisory_xact_lock_1,
    set_config('lock_timeout', :wait, true) AS set_config_1,
    EXISTS (
        SELECT *
        FROM blocked_wallets
    ) AS some_blocked;

-- ledger/reserve.py: take
WITH RECURSIVE upper(turn) AS (
    SELECT upper_first.turn AS turn
    FROM (
        SELECT unfinished.turn AS turn
        FROM unfinished
        WHERE unfinished.batch_id IS NULL
            AND unfinished.waits_for IS NULL
            AND unfinished.turn >= :first_turn::UUID
        ORDER BY unfinished.turn
        LIMIT 1
    ) AS upper_first
    UNION ALL
    SELECT upper_next.turn AS turn
    FROM upper
    JOIN LATERAL (
        SELECT unfinished.turn AS turn
        FROM unfinished
        WHERE unfinished.batch_id IS NULL
            AND unfinished.waits_for IS NULL
            AND unfinished.turn >= :first_turn::UUID
            AND unfinished.turn > upper.turn
        ORDER BY unfinished.turn
        LIMIT 1
    ) AS upper_next ON true
),
lower(turn) AS (
    SELECT lower_first.turn AS turn
    FROM (
        SELECT unfinished.turn AS turn
        FROM unfinished
        WHERE unfinished.batch_id IS NULL
            AND unfinished.waits_for IS NULL
            AND unfinished.turn < :first_turn::UUID
        ORDER BY unfinished.turn
        LIMIT 1
    ) AS lower_first
    UNION ALL
    SELECT lower_next.turn AS turn
    FROM lower
    JOIN LATERAL (
        SELECT unfinished.turn AS turn
        FROM unfinished
        WHERE unfinished.batch_id IS NULL
            AND unfinished.waits_for IS NULL
            AND unfinished.turn < :first_turn::UUID
            AND unfinished.turn > lower.turn
        ORDER BY unfinished.turn
        LIMIT 1
    ) AS lower_next ON true
),
in_turn AS (
    SELECT upper.turn AS turn
    FROM upper
    UNION ALL
    SELECT lower.turn AS turn
    FROM lower
    LIMIT 500
),
shares AS (
    SELECT of_client.transfer_id AS transfer_id
    FROM in_turn
    JOIN LATERAL (
        SELECT unfinished.transfer_id AS transfer_id
        FROM unfinished
        WHERE unfinished.batch_id IS NULL
            AND unfinished.waits_for IS NULL
            AND unfinished.turn >= in_turn.turn
            AND unfinished.turn <= in_turn.turn
        ORDER BY unfinished.turn, unfinished.seq
        LIMIT (
            SELECT FLOOR(1000 / greatest(count(*), 1)) AS anon_1
            FROM in_turn
        )
        FOR UPDATE SKIP LOCKED
    ) AS of_client ON true
    LIMIT 1000
),
longest_waiting AS (
    SELECT unfinished.transfer_id AS transfer_id
    FROM unfinished
    WHERE unfinished.batch_id IS NULL
        AND unfinished.waits_for IS NULL
        AND (unfinished.transfer_id NOT IN (
            SELECT shares.transfer_id
            FROM shares
        ))
    ORDER BY unfinished.seq
    LIMIT (
        SELECT 1000 - count(*) AS anon_2
        FROM shares
    )
    FOR UPDATE SKIP LOCKED
)
UPDATE unfinished
SET
    state='reserved', batch_id=:batch::UUID, reserved_at=statement_timestamp(),
    moved_at=statement_timestamp()
WHERE unfinished.transfer_id IN (
        SELECT shares.transfer_id
        FROM shares
        UNION ALL
        SELECT longest_waiting.transfer_id
        FROM longest_waiting
    )
    AND NOT (EXISTS (
        SELECT *
        FROM unfinished AS batch_mate
        WHERE batch_mate.batch_id = :batch::UUID
    ));

-- ledger/movements.py: lock_wallets
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('reserved')
        AND unfinished.failure_code IS NULL
)
SELECT
    greatest(clock_timestamp(), max(anon_1.posted_at)) AS now,
    bool_and(anon_1.status = 'active') AS all_active,
    (
        SELECT count(*) AS count_1
        FROM moving
    ) AS transfers
FROM (
    SELECT wallets.posted_at AS posted_at, wallets.status AS status
    FROM wallets
    WHERE wallets.id IN (
        SELECT anon_2.id
        FROM (
            SELECT moving.source AS id
            FROM moving
        ) AS anon_2
    )
    ORDER BY wallets.id
    FOR NO KEY UPDATE
) AS anon_1;

-- ledger/reserve.py: set_unmet_apart
WITH short AS (
    SELECT anon_1.source_id AS source_id
    FROM (
        SELECT
            unfinished.source_id AS source_id, sum(unfinished.amount) AS total,
            max(unfinished.seq) AS last
        FROM unfinished
        WHERE unfinished.batch_id = :batch::UUID
            AND unfinished.state = 'reserved'
        GROUP BY unfinished.source_id
    ) AS anon_1
    JOIN wallets ON wallets.id = anon_1.source_id
    JOIN LATERAL (
        SELECT count(*) AS count, coalesce(sum(anon_3.amount), 0) AS total
        FROM LATERAL (
            SELECT unfinished.amount AS amount
            FROM unfinished
            WHERE unfinished.source_id = anon_1.source_id
                AND unfinished.reserved_at IS NULL
                AND unfinished.failure_code IS NULL
                AND unfinished.seq < anon_1.last
            LIMIT 20000
        ) AS anon_3
    ) AS anon_2 ON true
    WHERE wallets.kind != 'external'
        AND (anon_1.total + anon_2.total > (wallets.balance - wallets.reserved) - wallets.incoming OR anon_2.count >= 20000)
)
SELECT
    unfinished.transfer_id, unfinished.source_id, unfinished.seq, unfinished.amount,
    unfinished.source_id IN (
        SELECT short.source_id
        FROM short
    ) AS is_short,
    source.kind AS source_kind, source.status AS source_status,
    (source.balance - source.reserved) - source.incoming AS source_available,
    destination.status AS destination_status
FROM unfinished
JOIN wallets AS source ON source.id = unfinished.source_id
JOIN wallets AS destination ON destination.id = unfinished.destination_id
WHERE unfinished.batch_id = :batch::UUID
    AND unfinished.state = 'reserved'
    AND (
        unfinished.source_id IN (
            SELECT short.source_id
            FROM short
        )
        OR unfinished.source_id IN (
            SELECT wallets.id
            FROM wallets
            WHERE wallets.status != 'active'
        )
        OR unfinished.destination_id IN (
            SELECT wallets.id
            FROM wallets
            WHERE wallets.status != 'active'
        )
    )
ORDER BY unfinished.seq;

-- ledger/funds/waits.py: try_lock
SELECT pg_try_advisory_xact_lock(:key) AS pg_try_advisory_xact_lock_1;

-- ledger/funds/on_the_way.py: read_lines
SELECT
    anon_1.wallet_id, anon_1.kind, anon_1.seq, anon_1.transfer_id, anon_1.amount,
    anon_1.waits_for
FROM (
    SELECT
        wallets.id AS wallet_id, 'ahead' AS kind, anon_2.seq AS seq,
        anon_2.transfer_id AS transfer_id, anon_2.amount AS amount,
        anon_2.waits_for AS waits_for
    FROM wallets
    JOIN LATERAL (
        SELECT
            unfinished.seq AS seq, unfinished.transfer_id AS transfer_id,
            unfinished.amount AS amount, unfinished.waits_for AS waits_for
        FROM unfinished
        WHERE unfinished.source_id = wallets.id
            AND unfinished.reserved_at IS NULL
            AND unfinished.failure_code IS NULL
        ORDER BY unfinished.seq
        LIMIT 100
    ) AS anon_2 ON true
    WHERE wallets.id = any(CAST(:ids AS UUID[]))
    UNION ALL
    SELECT
        wallets.id AS wallet_id, 'bringing' AS kind, anon_3.seq AS seq,
        anon_3.transfer_id AS transfer_id, anon_3.amount AS amount,
        anon_3.waits_for AS waits_for
    FROM wallets
    JOIN LATERAL (
        SELECT
            unfinished.seq AS seq, unfinished.transfer_id AS transfer_id,
            unfinished.amount AS amount, unfinished.waits_for AS waits_for
        FROM unfinished
        WHERE unfinished.destination_id = wallets.id
            AND unfinished.failure_code IS NULL
        ORDER BY unfinished.seq
        LIMIT 100
    ) AS anon_3 ON true
    WHERE wallets.id = any(CAST(:ids AS UUID[]))
    UNION ALL
    SELECT
        wallets.id AS wallet_id, 'bringing' AS kind, anon_4.seq AS seq,
        anon_4.transfer_id AS transfer_id, anon_4.amount AS amount,
        anon_4.waits_for AS waits_for
    FROM wallets
    JOIN LATERAL (
        SELECT
            unfinished.seq AS seq, unfinished.transfer_id AS transfer_id,
            unfinished.amount AS amount, unfinished.waits_for AS waits_for
        FROM unfinished
        WHERE unfinished.source_id = wallets.id
            AND unfinished.failure_code IS NOT NULL
            AND unfinished.reserved_at IS NOT NULL
        ORDER BY unfinished.seq
        LIMIT 100
    ) AS anon_4 ON true
    WHERE wallets.id = any(CAST(:ids AS UUID[]))
) AS anon_1
ORDER BY anon_1.seq;

-- ledger/reserve.py: set_unmet_apart
WITH given AS (
    SELECT
        anon_1.transfer_id AS transfer_id, anon_1.failure_code AS failure_code,
        anon_1.failure_detail AS failure_detail, anon_1.position AS position
    FROM unnest(
        CAST(:transfer_id_array AS UUID[]), CAST(:failure_code_array AS TEXT[]),
        CAST(:failure_detail_array AS TEXT[])
    ) WITH ORDINALITY AS anon_1(transfer_id, failure_code, failure_detail, position)
)
UPDATE unfinished
SET
    state='accepted', failure_code=given.failure_code,
    failure_detail=given.failure_detail, reserved_at=NULL
FROM given
WHERE unfinished.transfer_id = given.transfer_id;

-- ledger/funds/waits.py: put_back
WITH given AS (
    SELECT
        anon_1.transfer_id AS transfer_id, anon_1.waits_for AS waits_for,
        anon_1.detail AS detail, anon_1.position AS position
    FROM unnest(
        CAST(:transfer_id_array AS UUID[]), CAST(:waits_for_array AS UUID[]),
        CAST(:detail_array AS TEXT[])
    ) WITH ORDINALITY AS anon_1(transfer_id, waits_for, detail, position)
),
put_back AS (
    UPDATE unfinished
    SET
        state='accepted', batch_id=NULL::UUID, waits_for=given.waits_for,
        reserved_at=NULL, moved_at=statement_timestamp()
    FROM given
    WHERE unfinished.transfer_id = given.transfer_id
)
INSERT INTO events (transfer_id, event, worker, detail)
SELECT given.transfer_id, 'waiting' AS anon_2, :noticed_by AS anon_3, given.detail
FROM given
WHERE (
    SELECT count(*) AS count_1
    FROM events
    WHERE events.transfer_id = given.transfer_id
        AND events.event = 'waiting'
) < 20;

-- ledger/batches.py: finish
WITH done AS (
    DELETE FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('accepted')
        AND unfinished.failure_code IS NOT NULL
    RETURNING
        unfinished.transfer_id, unfinished.seq, unfinished.source_id,
        unfinished.transit_id, unfinished.destination_id, unfinished.amount,
        unfinished.state, unfinished.batch_id, unfinished.waits_for,
        unfinished.failure_code, unfinished.failure_detail, unfinished.redrives,
        unfinished.reserved_at, unfinished.deducted_at, unfinished.credited_at,
        unfinished.moved_at, unfinished.blocked_by, unfinished.turn
),
finished AS (
    INSERT INTO outcomes (
        transfer_id, failure_code, failure_detail, batch_id, reserved_at, deducted_at,
        credited_at, state, finished_at
    )
    SELECT
        done.transfer_id AS transfer_id, done.failure_code AS failure_code,
        done.failure_detail AS failure_detail, done.batch_id AS batch_id,
        done.reserved_at AS reserved_at, done.deducted_at AS deducted_at,
        done.credited_at AS credited_at,
        CASE
            WHEN (done.failure_code IS NULL) THEN 'committed'
            WHEN (done.state = 'accepted') THEN 'rejected'
            ELSE 'rolled_back'
        END AS anon_1,
        :now AS anon_2
    FROM done
),
found AS (
    SELECT unfinished.transfer_id AS transfer_id, unfinished.waits_for AS waits_for
    FROM unfinished
    WHERE unfinished.waits_for IS NOT NULL
        AND unfinished.waits_for IN (
            SELECT done.transfer_id
            FROM done
        )
    ORDER BY unfinished.seq
    LIMIT 1001
),
locked AS (
    SELECT unfinished.transfer_id AS transfer_id
    FROM unfinished
    WHERE unfinished.transfer_id IN (
            SELECT found.transfer_id
            FROM found
            LIMIT 1000
        )
        AND unfinished.waits_for IS NOT NULL
        AND unfinished.waits_for IN (
            SELECT done.transfer_id
            FROM done
        )
    ORDER BY unfinished.transfer_id
    FOR UPDATE SKIP LOCKED
),
released AS (
    UPDATE unfinished
    SET waits_for=NULL::UUID, moved_at=statement_timestamp()
    WHERE unfinished.transfer_id IN (
        SELECT locked.transfer_id
        FROM locked
    )
    RETURNING unfinished.transfer_id
)
SELECT
    (
        SELECT count(*) AS count_1
        FROM released
    ) AS count,
    array((
        SELECT found.waits_for
        FROM found
        WHERE (found.transfer_id NOT IN (
            SELECT released.transfer_id
            FROM released
        ))
        UNION
        SELECT done.transfer_id
        FROM done
        WHERE (
            SELECT count(*) AS count_2
            FROM found
        ) > 1000
    )) AS rest;

-- ledger/movements.py: move
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('reserved')
        AND unfinished.failure_code IS NULL
)
UPDATE wallets
SET reserved=(wallets.reserved + anon_1.reserved)
FROM (
    SELECT anon_2.wallet_id AS wallet_id, sum(anon_2.reserved) AS reserved
    FROM (
        SELECT moving.source AS wallet_id, moving.amount * 1 AS reserved
        FROM moving
    ) AS anon_2
    GROUP BY anon_2.wallet_id
) AS anon_1
WHERE wallets.id = anon_1.wallet_id;

COMMIT;


------------------------------------------------------------------------------------------------
-- Reserve, with nothing to claim
-- Reserves what the batch has already, since it was cut or driven again. Here: nothing.
------------------------------------------------------------------------------------------------

BEGIN;

-- ledger/batches.py: lock_batch (shown in "Reserve")

-- ledger/reserve.py: take (shown in "Reserve")

-- ledger/movements.py: lock_wallets (shown in "Reserve")

-- ledger/reserve.py: set_unmet_apart (shown in "Reserve")

-- ledger/funds/waits.py: try_lock
SELECT pg_try_advisory_xact_lock(:key) AS pg_try_advisory_xact_lock_1;

-- ledger/funds/on_the_way.py: read_lines (shown in "Reserve")

-- ledger/funds/waits.py: put_back (shown in "Reserve")

COMMIT;


------------------------------------------------------------------------------------------------
-- Deduct
-- Moves the money from the source wallets to the transit wallet.
------------------------------------------------------------------------------------------------

BEGIN;

-- ledger/batches.py: lock_batch (shown in "Reserve")

-- ledger/batches.py: hold_transfers
SELECT count(*) AS count_1
FROM (
    SELECT 1 AS anon_2
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('reserved')
        AND unfinished.failure_code IS NULL
    FOR UPDATE
) AS anon_1;

-- ledger/movements.py: lock_wallets
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('reserved')
        AND unfinished.failure_code IS NULL
)
SELECT
    greatest(clock_timestamp(), max(anon_1.posted_at)) AS now,
    bool_and(anon_1.status = 'active') AS all_active,
    (
        SELECT count(*) AS count_1
        FROM moving
    ) AS transfers
FROM (
    SELECT wallets.posted_at AS posted_at, wallets.status AS status
    FROM wallets
    WHERE wallets.id IN (
        SELECT anon_2.id
        FROM (
            SELECT moving.source AS id
            FROM moving
            UNION
            SELECT moving.transit AS id
            FROM moving
        ) AS anon_2
    )
    ORDER BY wallets.id
    FOR NO KEY UPDATE
) AS anon_1;

-- ledger/movements.py: move
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('reserved')
        AND unfinished.failure_code IS NULL
),
posted AS (
    INSERT INTO postings (
        transfer_id, leg, debit_wallet_id, credit_wallet_id, amount, debit_balance_after,
        credit_balance_after, created_at
    )
    SELECT
        moving.transfer_id AS transfer_id, 'deduct' AS anon_2, moving.source AS source,
        moving.transit AS transit, moving.amount AS amount,
        debit.balance - sum(moving.amount) OVER (
            PARTITION BY moving.source
            ORDER BY moving.seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS anon_3,
        credit.balance + sum(moving.amount) OVER (
            PARTITION BY moving.transit
            ORDER BY moving.seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS anon_4,
        :now AS anon_5
    FROM moving
    JOIN wallets AS debit ON debit.id = moving.source
    JOIN wallets AS credit ON credit.id = moving.transit
    ORDER BY moving.seq
),
advanced AS (
    UPDATE unfinished
    SET state='deducted', deducted_at=:now, moved_at=clock_timestamp()
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('reserved')
        AND unfinished.failure_code IS NULL
)
UPDATE wallets
SET
    balance=(wallets.balance + anon_1.balance),
    reserved=(wallets.reserved + anon_1.reserved), posted_at=:now
FROM (
    SELECT
        anon_6.wallet_id AS wallet_id, sum(anon_6.balance) AS balance,
        sum(anon_6.reserved) AS reserved
    FROM (
        SELECT
            moving.source AS wallet_id, moving.amount * -1 AS balance,
            moving.amount * -1 AS reserved
        FROM moving
        UNION ALL
        SELECT
            moving.transit AS wallet_id, moving.amount * 1 AS balance,
            moving.amount * 0 AS reserved
        FROM moving
    ) AS anon_6
    GROUP BY anon_6.wallet_id
) AS anon_1
WHERE wallets.id = anon_1.wallet_id;

COMMIT;


------------------------------------------------------------------------------------------------
-- Credit
-- Moves the money on to the destination wallets, and fails what goes to an inactive one.
------------------------------------------------------------------------------------------------

BEGIN;

-- ledger/batches.py: lock_batch (shown in "Reserve")

-- ledger/batches.py: hold_transfers
SELECT count(*) AS count_1
FROM (
    SELECT 1 AS anon_2
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('deducted')
        AND unfinished.failure_code IS NULL
    FOR UPDATE
) AS anon_1;

-- ledger/movements.py: lock_wallets
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('deducted')
        AND unfinished.failure_code IS NULL
)
SELECT
    greatest(clock_timestamp(), max(anon_1.posted_at)) AS now,
    bool_and(anon_1.status = 'active') AS all_active,
    (
        SELECT count(*) AS count_1
        FROM moving
    ) AS transfers
FROM (
    SELECT wallets.posted_at AS posted_at, wallets.status AS status
    FROM wallets
    WHERE wallets.id IN (
        SELECT anon_2.id
        FROM (
            SELECT moving.destination AS id
            FROM moving
            UNION
            SELECT moving.transit AS id
            FROM moving
        ) AS anon_2
    )
    ORDER BY wallets.id
    FOR NO KEY UPDATE
) AS anon_1;

-- ledger/steps.py: _forward
WITH failed AS (
    UPDATE unfinished
    SET
        failure_code='rolled_back',
        failure_detail=('The destination wallet is ' || wallets.status || '.')
    FROM wallets
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('deducted')
        AND unfinished.failure_code IS NULL
        AND wallets.id = unfinished.destination_id
        AND wallets.status != 'active'
    RETURNING unfinished.transfer_id, unfinished.failure_detail
)
INSERT INTO events (transfer_id, event, worker, detail)
SELECT
    failed.transfer_id, 'failed' AS anon_1, :noticed_by AS anon_2,
    failed.failure_detail
FROM failed;

-- ledger/movements.py: move
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('deducted')
        AND unfinished.failure_code IS NULL
),
posted AS (
    INSERT INTO postings (
        transfer_id, leg, debit_wallet_id, credit_wallet_id, amount, debit_balance_after,
        credit_balance_after, created_at
    )
    SELECT
        moving.transfer_id AS transfer_id, 'credit' AS anon_2, moving.transit AS transit,
        moving.destination AS destination, moving.amount AS amount,
        debit.balance - sum(moving.amount) OVER (
            PARTITION BY moving.transit
            ORDER BY moving.seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS anon_3,
        credit.balance + sum(moving.amount) OVER (
            PARTITION BY moving.destination
            ORDER BY moving.seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS anon_4,
        :now AS anon_5
    FROM moving
    JOIN wallets AS debit ON debit.id = moving.transit
    JOIN wallets AS credit ON credit.id = moving.destination
    ORDER BY moving.seq
),
advanced AS (
    UPDATE unfinished
    SET state='credited', credited_at=:now, moved_at=clock_timestamp()
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('deducted')
        AND unfinished.failure_code IS NULL
)
UPDATE wallets
SET
    balance=(wallets.balance + anon_1.balance),
    incoming=(wallets.incoming + anon_1.incoming), posted_at=:now
FROM (
    SELECT
        anon_6.wallet_id AS wallet_id, sum(anon_6.balance) AS balance,
        sum(anon_6.incoming) AS incoming
    FROM (
        SELECT
            moving.transit AS wallet_id, moving.amount * -1 AS balance,
            moving.amount * 0 AS incoming
        FROM moving
        UNION ALL
        SELECT
            moving.destination AS wallet_id, moving.amount * 1 AS balance,
            moving.amount * 1 AS incoming
        FROM moving
    ) AS anon_6
    GROUP BY anon_6.wallet_id
) AS anon_1
WHERE wallets.id = anon_1.wallet_id;

COMMIT;


------------------------------------------------------------------------------------------------
-- Commit
-- Makes the money available to its owners, ends the transfers.
------------------------------------------------------------------------------------------------

BEGIN;

-- ledger/batches.py: lock_batch (shown in "Reserve")

-- ledger/batches.py: hold_transfers
SELECT count(*) AS count_1
FROM (
    SELECT 1 AS anon_2
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('credited')
        AND unfinished.failure_code IS NULL
    FOR UPDATE
) AS anon_1;

-- ledger/movements.py: lock_wallets
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('credited')
        AND unfinished.failure_code IS NULL
)
SELECT
    greatest(clock_timestamp(), max(anon_1.posted_at)) AS now,
    bool_and(anon_1.status = 'active') AS all_active,
    (
        SELECT count(*) AS count_1
        FROM moving
    ) AS transfers
FROM (
    SELECT wallets.posted_at AS posted_at, wallets.status AS status
    FROM wallets
    WHERE wallets.id IN (
        SELECT anon_2.id
        FROM (
            SELECT moving.destination AS id
            FROM moving
        ) AS anon_2
    )
    ORDER BY wallets.id
    FOR NO KEY UPDATE
) AS anon_1;

-- ledger/movements.py: move
WITH done AS (
    DELETE FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('credited')
        AND unfinished.failure_code IS NULL
    RETURNING
        unfinished.transfer_id, unfinished.seq, unfinished.source_id,
        unfinished.transit_id, unfinished.destination_id, unfinished.amount,
        unfinished.state, unfinished.batch_id, unfinished.waits_for,
        unfinished.failure_code, unfinished.failure_detail, unfinished.redrives,
        unfinished.reserved_at, unfinished.deducted_at, unfinished.credited_at,
        unfinished.moved_at, unfinished.blocked_by, unfinished.turn
),
finished AS (
    INSERT INTO outcomes (
        transfer_id, failure_code, failure_detail, batch_id, reserved_at, deducted_at,
        credited_at, state, finished_at
    )
    SELECT
        done.transfer_id AS transfer_id, done.failure_code AS failure_code,
        done.failure_detail AS failure_detail, done.batch_id AS batch_id,
        done.reserved_at AS reserved_at, done.deducted_at AS deducted_at,
        done.credited_at AS credited_at,
        CASE
            WHEN (done.failure_code IS NULL) THEN 'committed'
            WHEN (done.state = 'accepted') THEN 'rejected'
            ELSE 'rolled_back'
        END AS anon_1,
        :now AS anon_2
    FROM done
),
moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('credited')
        AND unfinished.failure_code IS NULL
),
moved AS (
    UPDATE wallets
    SET incoming=(wallets.incoming + anon_3.incoming)
    FROM (
        SELECT anon_4.wallet_id AS wallet_id, sum(anon_4.incoming) AS incoming
        FROM (
            SELECT moving.destination AS wallet_id, moving.amount * -1 AS incoming
            FROM moving
        ) AS anon_4
        GROUP BY anon_4.wallet_id
    ) AS anon_3
    WHERE wallets.id = anon_3.wallet_id
),
found AS (
    SELECT unfinished.transfer_id AS transfer_id, unfinished.waits_for AS waits_for
    FROM unfinished
    WHERE unfinished.waits_for IS NOT NULL
        AND unfinished.waits_for IN (
            SELECT done.transfer_id
            FROM done
        )
    ORDER BY unfinished.seq
    LIMIT 1001
),
locked AS (
    SELECT unfinished.transfer_id AS transfer_id
    FROM unfinished
    WHERE unfinished.transfer_id IN (
            SELECT found.transfer_id
            FROM found
            LIMIT 1000
        )
        AND unfinished.waits_for IS NOT NULL
        AND unfinished.waits_for IN (
            SELECT done.transfer_id
            FROM done
        )
    ORDER BY unfinished.transfer_id
    FOR UPDATE SKIP LOCKED
),
released AS (
    UPDATE unfinished
    SET waits_for=NULL::UUID, moved_at=statement_timestamp()
    WHERE unfinished.transfer_id IN (
        SELECT locked.transfer_id
        FROM locked
    )
    RETURNING unfinished.transfer_id
)
SELECT
    (
        SELECT count(*) AS count_1
        FROM released
    ) AS count,
    array((
        SELECT found.waits_for
        FROM found
        WHERE (found.transfer_id NOT IN (
            SELECT released.transfer_id
            FROM released
        ))
        UNION
        SELECT done.transfer_id
        FROM done
        WHERE (
            SELECT count(*) AS count_2
            FROM found
        ) > 1000
    )) AS rest;

COMMIT;


------------------------------------------------------------------------------------------------
-- Roll back
-- Undoes what was done for failed transfers, and ends them.
------------------------------------------------------------------------------------------------

BEGIN;

-- ledger/batches.py: lock_batch (shown in "Reserve")

-- ledger/batches.py: lock_transfers
SELECT count(*) AS count_1
FROM (
    SELECT 1 AS anon_2
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('accepted', 'reserved', 'deducted', 'credited')
        AND unfinished.failure_code IS NOT NULL
    FOR UPDATE
) AS anon_1;

-- ledger/movements.py: lock_wallets
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('accepted', 'reserved', 'deducted', 'credited')
        AND unfinished.failure_code IS NOT NULL
)
SELECT
    greatest(clock_timestamp(), max(anon_1.posted_at)) AS now,
    bool_and(anon_1.status = 'active') AS all_active,
    (
        SELECT count(*) AS count_1
        FROM moving
    ) AS transfers
FROM (
    SELECT wallets.posted_at AS posted_at, wallets.status AS status
    FROM wallets
    WHERE wallets.id IN (
        SELECT anon_2.id
        FROM (
            SELECT moving.destination AS id
            FROM moving
            UNION
            SELECT moving.source AS id
            FROM moving
            UNION
            SELECT moving.transit AS id
            FROM moving
        ) AS anon_2
    )
    ORDER BY wallets.id
    FOR NO KEY UPDATE
) AS anon_1;

-- ledger/movements.py: move
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('credited')
        AND unfinished.failure_code IS NOT NULL
),
posted AS (
    INSERT INTO postings (
        transfer_id, leg, debit_wallet_id, credit_wallet_id, amount, debit_balance_after,
        credit_balance_after, created_at
    )
    SELECT
        moving.transfer_id AS transfer_id, 'uncredit' AS anon_2,
        moving.destination AS destination, moving.transit AS transit,
        moving.amount AS amount,
        debit.balance - sum(moving.amount) OVER (
            PARTITION BY moving.destination
            ORDER BY moving.seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS anon_3,
        credit.balance + sum(moving.amount) OVER (
            PARTITION BY moving.transit
            ORDER BY moving.seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS anon_4,
        :now AS anon_5
    FROM moving
    JOIN wallets AS debit ON debit.id = moving.destination
    JOIN wallets AS credit ON credit.id = moving.transit
    ORDER BY moving.seq
)
UPDATE wallets
SET
    balance=(wallets.balance + anon_1.balance),
    incoming=(wallets.incoming + anon_1.incoming), posted_at=:now
FROM (
    SELECT
        anon_6.wallet_id AS wallet_id, sum(anon_6.balance) AS balance,
        sum(anon_6.incoming) AS incoming
    FROM (
        SELECT
            moving.destination AS wallet_id, moving.amount * -1 AS balance,
            moving.amount * -1 AS incoming
        FROM moving
        UNION ALL
        SELECT
            moving.transit AS wallet_id, moving.amount * 1 AS balance,
            moving.amount * 0 AS incoming
        FROM moving
    ) AS anon_6
    GROUP BY anon_6.wallet_id
) AS anon_1
WHERE wallets.id = anon_1.wallet_id;

-- ledger/movements.py: move
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('credited', 'deducted')
        AND unfinished.failure_code IS NOT NULL
),
posted AS (
    INSERT INTO postings (
        transfer_id, leg, debit_wallet_id, credit_wallet_id, amount, debit_balance_after,
        credit_balance_after, created_at
    )
    SELECT
        moving.transfer_id AS transfer_id, 'refund' AS anon_2, moving.transit AS transit,
        moving.source AS source, moving.amount AS amount,
        debit.balance - sum(moving.amount) OVER (
            PARTITION BY moving.transit
            ORDER BY moving.seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS anon_3,
        credit.balance + sum(moving.amount) OVER (
            PARTITION BY moving.source
            ORDER BY moving.seq
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS anon_4,
        :now AS anon_5
    FROM moving
    JOIN wallets AS debit ON debit.id = moving.transit
    JOIN wallets AS credit ON credit.id = moving.source
    ORDER BY moving.seq
)
UPDATE wallets
SET balance=(wallets.balance + anon_1.balance), posted_at=:now
FROM (
    SELECT anon_6.wallet_id AS wallet_id, sum(anon_6.balance) AS balance
    FROM (
        SELECT moving.transit AS wallet_id, moving.amount * -1 AS balance
        FROM moving
        UNION ALL
        SELECT moving.source AS wallet_id, moving.amount * 1 AS balance
        FROM moving
    ) AS anon_6
    GROUP BY anon_6.wallet_id
) AS anon_1
WHERE wallets.id = anon_1.wallet_id;

-- ledger/movements.py: move
WITH moving AS (
    SELECT
        unfinished.transfer_id AS transfer_id, unfinished.seq AS seq,
        unfinished.amount AS amount, unfinished.source_id AS source,
        unfinished.transit_id AS transit, unfinished.destination_id AS destination
    FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('reserved')
        AND unfinished.failure_code IS NOT NULL
)
UPDATE wallets
SET reserved=(wallets.reserved + anon_1.reserved)
FROM (
    SELECT anon_2.wallet_id AS wallet_id, sum(anon_2.reserved) AS reserved
    FROM (
        SELECT moving.source AS wallet_id, moving.amount * -1 AS reserved
        FROM moving
    ) AS anon_2
    GROUP BY anon_2.wallet_id
) AS anon_1
WHERE wallets.id = anon_1.wallet_id;

-- ledger/batches.py: finish
WITH done AS (
    DELETE FROM unfinished
    WHERE unfinished.batch_id = :batch::UUID
        AND unfinished.state IN ('accepted', 'reserved', 'deducted', 'credited')
        AND unfinished.failure_code IS NOT NULL
    RETURNING
        unfinished.transfer_id, unfinished.seq, unfinished.source_id,
        unfinished.transit_id, unfinished.destination_id, unfinished.amount,
        unfinished.state, unfinished.batch_id, unfinished.waits_for,
        unfinished.failure_code, unfinished.failure_detail, unfinished.redrives,
        unfinished.reserved_at, unfinished.deducted_at, unfinished.credited_at,
        unfinished.moved_at, unfinished.blocked_by, unfinished.turn
),
finished AS (
    INSERT INTO outcomes (
        transfer_id, failure_code, failure_detail, batch_id, reserved_at, deducted_at,
        credited_at, state, finished_at
    )
    SELECT
        done.transfer_id AS transfer_id, done.failure_code AS failure_code,
        done.failure_detail AS failure_detail, done.batch_id AS batch_id,
        done.reserved_at AS reserved_at, done.deducted_at AS deducted_at,
        done.credited_at AS credited_at,
        CASE
            WHEN (done.failure_code IS NULL) THEN 'committed'
            WHEN (done.state = 'accepted') THEN 'rejected'
            ELSE 'rolled_back'
        END AS anon_1,
        :now AS anon_2
    FROM done
),
found AS (
    SELECT unfinished.transfer_id AS transfer_id, unfinished.waits_for AS waits_for
    FROM unfinished
    WHERE unfinished.waits_for IS NOT NULL
        AND unfinished.waits_for IN (
            SELECT done.transfer_id
            FROM done
        )
    ORDER BY unfinished.seq
    LIMIT 1001
),
locked AS (
    SELECT unfinished.transfer_id AS transfer_id
    FROM unfinished
    WHERE unfinished.transfer_id IN (
            SELECT found.transfer_id
            FROM found
            LIMIT 1000
        )
        AND unfinished.waits_for IS NOT NULL
        AND unfinished.waits_for IN (
            SELECT done.transfer_id
            FROM done
        )
    ORDER BY unfinished.transfer_id
    FOR UPDATE SKIP LOCKED
),
released AS (
    UPDATE unfinished
    SET waits_for=NULL::UUID, moved_at=statement_timestamp()
    WHERE unfinished.transfer_id IN (
        SELECT locked.transfer_id
        FROM locked
    )
    RETURNING unfinished.transfer_id
)
SELECT
    (
        SELECT count(*) AS count_1
        FROM released
    ) AS count,
    array((
        SELECT found.waits_for
        FROM found
        WHERE (found.transfer_id NOT IN (
            SELECT released.transfer_id
            FROM released
        ))
        UNION
        SELECT done.transfer_id
        FROM done
        WHERE (
            SELECT count(*) AS count_2
            FROM found
        ) > 1000
    )) AS rest;

COMMIT;


------------------------------------------------------------------------------------------------
-- Recovery scan
-- Asks if a reserve is overdue, and gives transfers that stopped moving a new batch.
------------------------------------------------------------------------------------------------

BEGIN;

-- ledger/funds/waits.py: release_ended
WITH left_over AS (
    SELECT waiting.transfer_id AS transfer_id
    FROM unfinished AS waiting
    WHERE waiting.waits_for IS NOT NULL
        AND NOT (EXISTS (
            SELECT *
            FROM unfinished AS awaited
            WHERE awaited.transfer_id = waiting.waits_for
        ))
    ORDER BY waiting.seq
    LIMIT 1000
    FOR UPDATE SKIP LOCKED
)
UPDATE unfinished
SET waits_for=NULL::UUID, moved_at=statement_timestamp()
WHERE unfinished.transfer_id IN (
    SELECT left_over.transfer_id
    FROM left_over
);

-- ledger/recovery.py: is_waiting
SELECT EXISTS (
    SELECT *
    FROM (
        SELECT unfinished.transfer_id AS transfer_id, unfinished.moved_at AS moved_at
        FROM unfinished
        WHERE unfinished.batch_id IS NULL
            AND unfinished.waits_for IS NULL
        ORDER BY unfinished.seq
        LIMIT 1
    ) AS anon_2
    WHERE anon_2.moved_at NOT BETWEEN clock_timestamp() - :age AND clock_timestamp() + :age
) AS anon_1;

COMMIT;

BEGIN;

-- ledger/recovery.py: redrive_stuck
SELECT
    unfinished.transfer_id, unfinished.state,
    unfinished.failure_code IS NOT NULL AS failed
FROM unfinished
WHERE unfinished.batch_id IS NOT NULL
    AND CASE WHEN (unfinished.blocked_by IS NULL) THEN unfinished.moved_at NOT BETWEEN clock_timestamp() - :age AND clock_timestamp() + :age ELSE NOT (EXISTS (
        SELECT *
        FROM blocked_wallets
        WHERE blocked_wallets.wallet_id = unfinished.blocked_by
    )) END
    AND (NOT :behind_backlog OR unfinished.redrives = 0 OR unfinished.blocked_by IS NOT NULL)
ORDER BY unfinished.moved_at
LIMIT 10000
FOR UPDATE SKIP LOCKED;

-- ledger/recovery.py: redrive_stuck
WITH given AS (
    SELECT
        anon_2.transfer_id AS transfer_id, anon_2.batch_id AS batch_id,
        anon_2.worker AS worker, anon_2.position AS position
    FROM unnest(
        CAST(:transfer_id_array AS UUID[]), CAST(:batch_id_array AS UUID[]),
        CAST(:worker_array AS TEXT[])
    ) WITH ORDINALITY AS anon_2(transfer_id, batch_id, worker, position)
),
driven AS (
    UPDATE unfinished
    SET
        batch_id=given.batch_id, redrives=(unfinished.redrives + 1),
        moved_at=statement_timestamp(), blocked_by=NULL::UUID
    FROM given
    WHERE unfinished.transfer_id = given.transfer_id
    RETURNING unfinished.transfer_id, unfinished.redrives, given.worker
)
INSERT INTO events (transfer_id, event, worker, attempt)
SELECT driven.transfer_id, 'redriven' AS anon_1, driven.worker, driven.redrives
FROM driven
WHERE driven.redrives <= 20;

COMMIT;


------------------------------------------------------------------------------------------------
-- Release the rest
-- Releases those that wait for one that has ended, where a step had to leave them.
------------------------------------------------------------------------------------------------

BEGIN;

-- ledger/funds/waits.py: release_rest
SELECT set_config('lock_timeout', '500ms', true) AS set_config_1;

-- ledger/funds/waits.py: release_rest
WITH found AS (
    SELECT unfinished.transfer_id AS transfer_id, unfinished.waits_for AS waits_for
    FROM unfinished
    WHERE unfinished.waits_for IS NOT NULL
        AND unfinished.waits_for IN (
            SELECT ended_id
            FROM unnest(CAST(:ended AS UUID[])) AS ended_id
        )
    ORDER BY unfinished.seq
    LIMIT 1001
),
locked AS (
    SELECT unfinished.transfer_id AS transfer_id
    FROM unfinished
    WHERE unfinished.transfer_id IN (
            SELECT found.transfer_id
            FROM found
            LIMIT 1000
        )
        AND unfinished.waits_for IS NOT NULL
        AND unfinished.waits_for IN (
            SELECT ended_id
            FROM unnest(CAST(:ended AS UUID[])) AS ended_id
        )
    ORDER BY unfinished.transfer_id
    FOR UPDATE
),
released AS (
    UPDATE unfinished
    SET waits_for=NULL::UUID, moved_at=statement_timestamp()
    WHERE unfinished.transfer_id IN (
        SELECT locked.transfer_id
        FROM locked
    )
    RETURNING unfinished.transfer_id
)
SELECT
    (
        SELECT count(*) AS count_1
        FROM released
    ) AS count,
    array((
        SELECT found.waits_for
        FROM found
        WHERE (found.transfer_id NOT IN (
            SELECT released.transfer_id
            FROM released
        ))
        UNION
        SELECT ended_id
        FROM unnest(CAST(:ended AS UUID[])) AS ended_id
        WHERE (
            SELECT count(*) AS count_2
            FROM found
        ) > 1000
    )) AS rest;

COMMIT;


------------------------------------------------------------------------------------------------
-- Replay
-- Records what was buffered while the database was away, once.
------------------------------------------------------------------------------------------------

BEGIN;

-- ledger/clients.py: find_clients
SELECT clients.id, clients.name, clients.scope, clients.rate_limit, clients.item_limit
FROM clients
WHERE clients.id = any(CAST(:ids AS UUID[]));

-- ledger/keys/revocations.py: keys_ended
WITH given AS (
    SELECT
        anon_1.client_id AS client_id, anon_1.key_id AS key_id, anon_1.at AS at,
        anon_1.position AS position
    FROM unnest(
        CAST(:client_id_array AS UUID[]), CAST(:key_id_array AS UUID[]),
        CAST(:at_array AS TIMESTAMP WITH TIME ZONE[])
    ) WITH ORDINALITY AS anon_1(client_id, key_id, at, position)
)
SELECT given.position
FROM given
WHERE (EXISTS (
        SELECT *
        FROM clients
        WHERE clients.id = given.client_id
            AND clients.disabled_at <= given.at
            AND (clients.enabled_at IS NULL OR clients.enabled_at > given.at)
    )) OR given.key_id IS NOT NULL
    AND NOT (EXISTS (
        SELECT *
        FROM api_keys
        WHERE api_keys.id = given.key_id
            AND api_keys.client_id = given.client_id
            AND api_keys.scope = 'write'
            AND (api_keys.revoked_at IS NULL OR api_keys.revoked_at > given.at)
            AND (api_keys.expires_at IS NULL OR api_keys.expires_at > given.at)
    ));

-- ledger/funds/door.py: read_wallets (shown in "Accept")

-- ledger/acceptance.py: _record (shown in "Accept")

-- ledger/transfers.py: find_transfers (shown in "Accept")

-- ledger/transfers.py: find_transfers
SELECT
    refused_requests.id, refused_requests.client_id,
    refused_requests.idempotency_key, refused_requests.fingerprint,
    refused_requests.source_id, refused_requests.destination_id,
    refused_requests.asset, refused_requests.scale, refused_requests.amount,
    refused_requests.reference, refused_requests.metadata,
    refused_requests.failure_code, refused_requests.failure_detail,
    refused_requests.buffered_at, refused_requests.refused_at
FROM refused_requests
WHERE refused_requests.id IN (:id_1_1::UUID);

-- ledger/buffer/rejected.py: record_rejections
WITH given AS (
    SELECT
        anon_1.id AS id, anon_1.client_id AS client_id,
        anon_1.idempotency_key AS idempotency_key, anon_1.fingerprint AS fingerprint,
        anon_1.source_id AS source_id, anon_1.destination_id AS destination_id,
        anon_1.asset AS asset, anon_1.scale AS scale, anon_1.amount AS amount,
        anon_1.reference AS reference, anon_1.metadata AS metadata,
        anon_1.failure_code AS failure_code, anon_1.failure_detail AS failure_detail,
        anon_1.buffered_at AS buffered_at, anon_1.position AS position
    FROM unnest(
        CAST(:id_array AS UUID[]), CAST(:client_id_array AS UUID[]),
        CAST(:idempotency_key_array AS TEXT[]), CAST(:fingerprint_array AS BYTEA[]),
        CAST(:source_id_array AS UUID[]), CAST(:destination_id_array AS UUID[]),
        CAST(:asset_array AS TEXT[]), CAST(:scale_array AS INTEGER[]),
        CAST(:amount_array AS NUMERIC(38, 0)[]), CAST(:reference_array AS TEXT[]),
        CAST(:metadata_array AS TEXT[]), CAST(:failure_code_array AS TEXT[]),
        CAST(:failure_detail_array AS TEXT[]),
        CAST(:buffered_at_array AS TIMESTAMP WITH TIME ZONE[])
    ) WITH ORDINALITY AS anon_1(
        id, client_id, idempotency_key, fingerprint, source_id, destination_id, asset,
        scale, amount, reference, metadata, failure_code, failure_detail, buffered_at,
        position
    )
)
INSERT INTO refused_requests (
    id, client_id, idempotency_key, fingerprint, source_id, destination_id, asset,
    scale, amount, reference, metadata, failure_code, failure_detail, buffered_at
)
SELECT
    given.id, given.client_id, given.idempotency_key, given.fingerprint,
    given.source_id, given.destination_id, given.asset, given.scale, given.amount,
    given.reference, CAST(given.metadata AS JSONB) AS metadata, given.failure_code,
    given.failure_detail, given.buffered_at
FROM given
WHERE NOT (EXISTS (
    SELECT *
    FROM transfers
    WHERE transfers.id = given.id
))
ORDER BY given.id
ON CONFLICT DO NOTHING;

-- ledger/buffer/replaying.py: _note
WITH given AS (
    SELECT
        anon_2.transfer_id AS transfer_id, anon_2.at AS at, anon_2.detail AS detail,
        anon_2.position AS position
    FROM unnest(
        CAST(:transfer_id_array AS UUID[]),
        CAST(:at_array AS TIMESTAMP WITH TIME ZONE[]), CAST(:detail_array AS TEXT[])
    ) WITH ORDINALITY AS anon_2(transfer_id, at, detail, position)
)
INSERT INTO events (transfer_id, at, event, detail)
SELECT
    given.transfer_id, least(given.at, now()) AS least_1, :event_noted AS anon_1,
    given.detail
FROM given
WHERE NOT (EXISTS (
    SELECT *
    FROM events
    WHERE events.transfer_id = given.transfer_id
        AND events.event = :event_noted
));

-- ledger/buffer/replaying.py: _note
WITH given AS (
    SELECT
        anon_2.transfer_id AS transfer_id, anon_2.at AS at, anon_2.detail AS detail,
        anon_2.position AS position
    FROM unnest(
        CAST(:transfer_id_array AS UUID[]),
        CAST(:at_array AS TIMESTAMP WITH TIME ZONE[]), CAST(:detail_array AS TEXT[])
    ) WITH ORDINALITY AS anon_2(transfer_id, at, detail, position)
)
INSERT INTO events (transfer_id, at, event, detail)
SELECT
    given.transfer_id, least(given.at, now()) AS least_1, :event_noted AS anon_1,
    given.detail
FROM given
WHERE NOT (EXISTS (
    SELECT *
    FROM events
    WHERE events.transfer_id = given.transfer_id
        AND events.event = :event_noted
));

COMMIT;
