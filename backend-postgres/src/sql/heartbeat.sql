-- Extends the leases of the jobs that their tokens hold. Changes no indexed column, so
-- that it is HOT. Tokens come sorted by id: calls that share jobs lock them in one order.
-- Where a lease now ends before the next look at it, another look is set down.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 + $3::int8 AS until),
beat AS (
    UPDATE {s}.live AS j
    SET lease_until = t.until, look_at = least(j.look_at, t.until)
    FROM unnest($1::uuid[], $2::int8[]) AS u (id, counter), t
    WHERE j.id = u.id AND j.counter = u.counter AND j.state = 2
    RETURNING j.id, j.flagged, j.counter, j.look_at, j.lease_until, j.worker
),
sooner AS (
    INSERT INTO {s}.held (look_at, worker, ids)
    SELECT look_at, worker, array_agg(id) FROM beat WHERE look_at = lease_until
    GROUP BY look_at, worker
)
SELECT id, flagged, counter FROM beat
