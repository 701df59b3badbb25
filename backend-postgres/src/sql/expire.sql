-- Ends leases that have run out: the flagged end `cancelled`, those without an attempt
-- left `failed`, the others wait again in their place. Jobs that are locked are being
-- settled, extended or ended by another call, and are left to it. Served by the index
-- `running`, whose `look_at` a heartbeat does not touch: where the lease was extended,
-- it is brought up to the lease's end here, once a lease, so that heartbeats stay HOT.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
due AS MATERIALIZED (
    SELECT j.* FROM {s}.live AS j
    WHERE j.state = 2 AND j.look_at >= $1::int8 AND j.look_at <= (SELECT now FROM t)
    ORDER BY j.look_at LIMIT $2::int8 FOR UPDATE SKIP LOCKED
),
extended AS (
    UPDATE {s}.live AS j SET look_at = due.lease_until
    FROM due, t WHERE j.id = due.id AND due.lease_until > t.now
),
over AS MATERIALIZED (
    SELECT due.*, CASE WHEN due.flagged THEN 5 WHEN due.attempt >= due.max_attempts THEN 4
                       ELSE 1 END AS next
    FROM due, t WHERE due.lease_until <= t.now
),
ended AS (
    DELETE FROM {s}.live AS j USING over WHERE j.id = over.id AND over.next <> 1
),
kept AS (
    INSERT INTO {s}.finished (id, finished_at, due_at, claimed_at, counter, settled_counter, line,
                              attempt, state, settled_kind, flagged)
    SELECT id, now, due_at, claimed_at, counter, settled_counter, line, attempt, next,
           settled_kind, flagged
    FROM over, t WHERE next <> 1
),
back AS (
    UPDATE {s}.live AS j
    SET state = 1, back = true, lease_until = NULL, look_at = NULL, worker = NULL
    FROM over WHERE j.id = over.id AND over.next = 1
),
error AS (
    INSERT INTO {s}.errors (id, counter, attempt, at, message)
    SELECT id, counter, attempt, now, $3::text FROM over, t
),
trimmed AS (
    DELETE FROM {s}.errors AS e USING over
    WHERE over.counter > 10 AND e.id = over.id AND e.counter <= (
        SELECT o.counter FROM {s}.errors AS o WHERE o.id = over.id
        ORDER BY o.counter DESC OFFSET 9 LIMIT 1)
),
freed AS (
    DELETE FROM {s}.keys AS k USING over, {s}.bodies AS b
    WHERE over.keyed AND over.next <> 1 AND b.id = over.id
      AND k.queue = b.queue AND k.key = b.unique_key AND k.id = over.id
),
counted AS (
    INSERT INTO {s}.deltas (queue, ready, running, failed, cancelled)
    SELECT line >> 2, count(*) FILTER (WHERE next = 1), -count(*),
           count(*) FILTER (WHERE next = 4), count(*) FILTER (WHERE next = 5)
    FROM over GROUP BY line >> 2
)
SELECT (SELECT count(*) FROM due), over.id, over.line, over.next::int2,
       EXISTS (SELECT FROM {s}.watched AS w WHERE w.id = over.id)
FROM (SELECT 1) AS one LEFT JOIN over ON true
