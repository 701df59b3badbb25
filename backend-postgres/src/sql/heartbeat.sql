-- Extends the leases of the jobs that their tokens hold. Changes no indexed column, so
-- that it is HOT. By primary key. Waits for nobody: a job whose row is locked keeps the
-- lease it has, and no look ends that while it is locked; what the snapshot says of it is
-- the answer, with `false` for the caller to try again. Written by id, never by place,
-- since the lock may be on a version that the snapshot does not see. Where a lease now
-- ends before the next look at it, or that look is due and may be under way, another look
-- is set down.
WITH t AS MATERIALIZED (
    SELECT c.now, c.now + $3::int8 AS until
    FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now) AS c
),
locked AS MATERIALIZED (
    SELECT j.id FROM unnest($1::uuid[], $2::int8[]) AS u (id, counter)
    JOIN {s}.live AS j ON j.id = u.id AND j.counter = u.counter AND j.state = 2
    FOR NO KEY UPDATE OF j SKIP LOCKED
),
beat AS (
    UPDATE {s}.live AS j
    SET lease_until = t.until,
        look_at = CASE WHEN j.look_at > t.now THEN least(j.look_at, t.until) ELSE t.until END
    FROM locked, t WHERE j.id = locked.id
    RETURNING j.id, j.flagged, j.counter, j.look_at, j.lease_until, j.worker
),
sooner AS (
    INSERT INTO {s}.held (look_at, worker, ids)
    SELECT look_at, worker, array_agg(id) FROM beat WHERE look_at = lease_until
    GROUP BY look_at, worker
)
SELECT id, flagged, counter, true FROM beat
UNION ALL
SELECT j.id, j.flagged, j.counter, false FROM unnest($1::uuid[], $2::int8[]) AS u (id, counter)
JOIN {s}.live AS j ON j.id = u.id AND j.counter = u.counter AND j.state = 2
WHERE NOT EXISTS (SELECT FROM beat WHERE beat.id = u.id)
