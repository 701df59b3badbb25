-- Ends leases that have run out: the flagged end `cancelled`, those without an attempt
-- left `failed`, the others wait again in their place. Served by the index `held_look`,
-- and by primary key for the jobs that a row of `held` names ($4: how far ahead to look
-- for rows whose jobs are all gone). Jobs that are locked are being settled, extended or
-- ended by another call: they and their row are left to the next look. So are those that
-- another call changed between this one's snapshot and its lock: what is locked then is
-- the new version, and a write by its place would not see it. A row whose jobs' leases
-- were extended moves on to the end of the first of them. LATERAL and LIMIT have each job
-- looked up by its id, and what is locked is found again by its place: a join by id may be
-- a hash join, which reads the first entry of the primary key to see whether there is one,
-- and behind a pinned horizon that is past all dead ones. Keys are locked in the order of
-- enqueues.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
due AS MATERIALIZED (
    SELECT h.ctid AS place, h.look_at, h.worker, h.ids FROM {s}.held AS h
    WHERE h.look_at >= $1::int8 AND h.look_at <= (SELECT now + $4::int8 FROM t)
    ORDER BY h.look_at LIMIT 100 FOR UPDATE SKIP LOCKED
),
running AS MATERIALIZED (
    SELECT due.place, due.look_at, j.id, j.row
    FROM due CROSS JOIN LATERAL unnest(due.ids) AS u (id) CROSS JOIN LATERAL (
        SELECT l.id, l.ctid AS row FROM {s}.live AS l
        WHERE l.id = u.id AND l.state = 2 AND l.look_at = due.look_at LIMIT 1
    ) AS j
),
locked AS MATERIALIZED (
    SELECT j.*, running.place FROM running CROSS JOIN LATERAL (
        SELECT l.ctid AS row, l.* FROM {s}.live AS l
        WHERE l.id = running.id AND l.state = 2 AND l.look_at = running.look_at
        LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS j
    WHERE j.row = running.row
),
over AS MATERIALIZED (
    SELECT locked.*, CASE WHEN flagged THEN 5 WHEN attempt >= max_attempts THEN 4
                          ELSE 1 END AS next
    FROM locked, t WHERE lease_until <= t.now ORDER BY lease_until LIMIT $2::int8
),
rest AS MATERIALIZED (
    SELECT locked.place, locked.row, locked.id, greatest(min(locked.lease_until) OVER (
               PARTITION BY locked.place), t.now) AS next_look
    FROM locked, t WHERE NOT EXISTS (SELECT FROM over WHERE over.id = locked.id)
),
looked AS MATERIALIZED (
    SELECT due.*, (SELECT count(*) FROM running WHERE running.place = due.place)
                = (SELECT count(*) FROM locked WHERE locked.place = due.place) AS whole,
           EXISTS (SELECT FROM rest WHERE rest.place = due.place) AS goes_on
    FROM due
),
done AS (
    DELETE FROM {s}.held AS h USING looked
    WHERE h.ctid = looked.place AND looked.whole AND NOT looked.goes_on
),
moved AS (
    UPDATE {s}.held AS h SET look_at = r.next_look, ids = r.ids
    FROM looked, (SELECT place, next_look, array_agg(id) AS ids FROM rest
                  GROUP BY place, next_look) AS r
    WHERE h.ctid = looked.place AND r.place = looked.place
      AND looked.whole AND looked.goes_on AND looked.look_at <= (SELECT now FROM t)
),
extended AS (
    UPDATE {s}.live AS j SET look_at = rest.next_look
    FROM rest JOIN looked USING (place)
    WHERE j.ctid = rest.row AND looked.whole AND looked.look_at <= (SELECT now FROM t)
),
gone AS (
    DELETE FROM {s}.live AS j USING over WHERE j.ctid = over.row AND over.next <> 1
),
kept AS (
    INSERT INTO {s}.finished (id, finished_at, due_at, claimed_at, counter, settled_counter, ord, line,
                              attempt, state, settled_kind, flagged)
    SELECT id, now, due_at, claimed_at, counter, settled_counter, ord, line, attempt, next,
           settled_kind, flagged
    FROM over, t WHERE next <> 1
),
ended_now AS (
    INSERT INTO {s}.ended (finished_at, state, ids)
    SELECT now, next, array_agg(id) FROM over, t WHERE next <> 1 GROUP BY now, next
),
back AS (
    UPDATE {s}.live AS j
    SET state = 1, back = true, lease_until = NULL, look_at = NULL, worker = NULL
    FROM over WHERE j.ctid = over.row AND over.next = 1
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
key AS MATERIALIZED (
    SELECT k.queue, k.key FROM over JOIN {s}.bodies AS b ON b.id = over.id
    JOIN {s}.keys AS k ON k.queue = b.queue AND k.key = b.unique_key AND k.id = over.id
    WHERE over.keyed AND over.next <> 1 ORDER BY k.queue, k.key FOR UPDATE OF k
),
freed AS (
    DELETE FROM {s}.keys AS k USING key WHERE k.queue = key.queue AND k.key = key.key
),
counted AS (
    INSERT INTO {s}.deltas (queue, ready, running, failed, cancelled)
    SELECT line >> 2, count(*) FILTER (WHERE next = 1), -count(*),
           count(*) FILTER (WHERE next = 4), count(*) FILTER (WHERE next = 5)
    FROM over GROUP BY line >> 2
)
SELECT (SELECT count(*) FROM due) = 100, over.id, over.line, over.next::int2,
       EXISTS (SELECT FROM {s}.watched AS w WHERE w.id = over.id)
FROM (SELECT 1) AS one LEFT JOIN over ON true
