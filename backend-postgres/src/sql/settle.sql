-- Settles jobs that their tokens hold, with any outcome. What becomes of a job depends
-- on its flag, so its row is locked first and read as it is then. One statement: all
-- of it or nothing. By primary key, each job once, locked in the order of ids; then keys,
-- in the order of enqueues.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
new AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::int8[], $3::int2[], $4::text[], $5::int8[])
        AS u (id, counter, kind, text, delay)
),
locked AS MATERIALIZED (
    SELECT j.*, new.kind, new.text, new.delay
    FROM new JOIN {s}.live AS j ON j.id = new.id AND j.counter = new.counter AND j.state = 2
    ORDER BY j.id FOR UPDATE OF j
),
held AS MATERIALIZED (
    SELECT locked.*, CASE WHEN kind = 1 THEN 3 WHEN kind = 3 THEN 4 WHEN flagged THEN 5
                          WHEN kind = 5 OR delay = 0 THEN 1 ELSE 0 END AS next,
           CASE WHEN kind IN (4, 5) THEN greatest(attempt - 1, 0) ELSE attempt END AS charged
    FROM locked
),
ended AS (
    DELETE FROM {s}.live AS j USING held WHERE j.id = held.id AND held.next > 2
),
kept AS (
    INSERT INTO {s}.finished (id, finished_at, due_at, claimed_at, counter, settled_counter, ord, line,
                              attempt, state, settled_kind, flagged, result)
    SELECT id, now, due_at, claimed_at, counter, counter, ord, line, charged, next, kind, flagged,
           CASE kind WHEN 1 THEN text END
    FROM held, t WHERE next > 2
),
waits AS (
    UPDATE {s}.live AS j
    SET state = held.next, later = held.next = 0, attempt = held.charged, back = held.kind = 5,
        due_at = CASE WHEN held.kind = 5 THEN j.due_at ELSE t.now + held.delay END,
        snooze_reason = CASE held.kind WHEN 4 THEN held.text END,
        settled_counter = held.counter, settled_kind = held.kind,
        lease_until = NULL, look_at = NULL, worker = NULL
    FROM held, t WHERE j.id = held.id AND held.next < 2
),
error AS (
    INSERT INTO {s}.errors (id, counter, attempt, at, message)
    SELECT id, counter, attempt, now, text FROM held, t WHERE kind IN (2, 3)
),
trimmed AS (
    DELETE FROM {s}.errors AS e USING held
    WHERE held.kind IN (2, 3) AND held.counter > 10 AND e.id = held.id AND e.counter <= (
        SELECT o.counter FROM {s}.errors AS o WHERE o.id = held.id
        ORDER BY o.counter DESC OFFSET 9 LIMIT 1)
),
key AS MATERIALIZED (
    SELECT k.queue, k.key FROM held JOIN {s}.bodies AS b ON b.id = held.id
    JOIN {s}.keys AS k ON k.queue = b.queue AND k.key = b.unique_key AND k.id = held.id
    WHERE held.keyed AND held.next > 2 ORDER BY k.queue, k.key FOR UPDATE OF k
),
freed AS (
    DELETE FROM {s}.keys AS k USING key WHERE k.queue = key.queue AND k.key = key.key
),
ended_now AS (
    INSERT INTO {s}.ended (finished_at, state, ids)
    SELECT now, next, array_agg(id) FROM held, t WHERE next > 2 GROUP BY now, next
),
counted AS (
    INSERT INTO {s}.deltas (queue, scheduled, ready, running, completed, failed, cancelled)
    SELECT line >> 2, count(*) FILTER (WHERE next = 0), count(*) FILTER (WHERE next = 1),
           -count(*), count(*) FILTER (WHERE next = 3), count(*) FILTER (WHERE next = 4),
           count(*) FILTER (WHERE next = 5)
    FROM held GROUP BY line >> 2
)
SELECT held.id, EXISTS (SELECT FROM {s}.watched AS w WHERE w.id = held.id), held.line,
       held.next::int2
FROM held
