-- Takes the first waiting jobs of some lines, in the order given. Atomic: a row that
-- another claim has locked is skipped, one that it has taken fails the recheck of
-- `state`. Served by the index `waiting`, which gives exactly the order of claims,
-- from a floor below which no job waits (floors.rs) or from the first job that was put
-- back, whichever is lower: neither running jobs nor dead entries of jobs long gone are
-- walked. The update is HOT. Of jobs with large payloads it takes as many as come
-- in an answer of $8 bytes and one job more. Where a lease may have run out it takes nothing and says so
-- ($6: whether to look).
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
over AS MATERIALIZED (
    SELECT 1 FROM {s}.held
    WHERE look_at >= $5::int8 AND look_at <= (SELECT now FROM t) AND $6::bool
    LIMIT 1
),
open AS MATERIALIZED (
    SELECT l.line, l.n, least(l.floor, (
        SELECT b.due_at FROM {s}.live AS b WHERE b.back AND b.line = l.line
        ORDER BY b.due_at LIMIT 1
    )) AS floor
    FROM unnest($1::int4[], $2::int8[]) WITH ORDINALITY AS l (line, floor, n)
    WHERE (SELECT NOT paused FROM {s}.queues AS q WHERE q.queue = l.line >> 2)
      AND NOT EXISTS (SELECT FROM over)
    ORDER BY l.n
),
picked AS MATERIALIZED (
    SELECT j.place, j.state, j.size FROM open CROSS JOIN LATERAL (
        SELECT w.ctid AS place, w.state, w.size FROM {s}.live AS w
        WHERE w.state < 2 AND w.line = open.line AND w.due_at >= open.floor
          AND w.due_at <= (SELECT now FROM t)
        ORDER BY w.line, w.due_at, w.ord LIMIT $3::int8 FOR UPDATE SKIP LOCKED
    ) AS j
    LIMIT $3::int8
),
whole AS MATERIALIZED (SELECT sum(size) <= $8::int8 AS fits FROM picked),
first AS MATERIALIZED (
    SELECT p.place FROM (
        SELECT place, size, sum(size) OVER (ROWS UNBOUNDED PRECEDING) AS total FROM picked
    ) AS p
    WHERE p.total - p.size < $8::int8 AND NOT (SELECT fits FROM whole)
),
taken AS (
    UPDATE {s}.live AS j
    SET state = 2, attempt = attempt + 1, counter = counter + 1, worker = $7::int4,
        claimed_at = t.now, lease_until = t.now + $4::int8, look_at = t.now + $4::int8,
        back = false, later = false, snooze_reason = NULL
    FROM picked, t WHERE j.ctid = picked.place
      AND ((SELECT fits FROM whole) OR picked.place IN (SELECT place FROM first))
    RETURNING j.id, j.counter, j.attempt, j.max_attempts, j.line, j.due_at, j.ord, picked.state
),
cleared AS (
    UPDATE {s}.progress AS p SET percent = NULL, step = NULL, message = NULL
    FROM taken WHERE taken.counter > 1 AND p.id = taken.id
),
held AS (
    INSERT INTO {s}.held (look_at, worker, ids)
    SELECT now + $4::int8, $7::int4, array_agg(id) FROM taken, t GROUP BY now
),
counted AS (
    INSERT INTO {s}.deltas (queue, scheduled, ready, running)
    SELECT line >> 2, -count(*) FILTER (WHERE state = 0), -count(*) FILTER (WHERE state = 1),
           count(*)
    FROM taken GROUP BY line >> 2
)
SELECT t.now, EXISTS (SELECT FROM over), j.id, j.counter, j.attempt, j.max_attempts, j.line,
       j.due_at, j.ord, j.created_at, j.kind, j.backoff, j.trace, j.tags, j.payload, j.watched
FROM t LEFT JOIN LATERAL (
    SELECT taken.*, b.created_at, b.kind, b.backoff, b.trace, b.tags, b.payload,
           (SELECT EXISTS (SELECT FROM {s}.watched))
           AND EXISTS (SELECT FROM {s}.watched AS w WHERE w.id = taken.id) AS watched
    FROM taken JOIN {s}.bodies AS b ON b.id = taken.id
) AS j ON true
