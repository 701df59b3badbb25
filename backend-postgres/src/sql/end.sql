-- Ends jobs that their tokens hold as completed or failed, which needs no look at the
-- job first: `DELETE` takes the row as it is now, whatever a heartbeat or a cancel has
-- changed meanwhile. One statement: all of it or nothing. By primary key, each job
-- once, sorted by id. Keys are locked in the order of enqueues.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
gone AS (
    DELETE FROM {s}.live AS j
    USING unnest($1::uuid[], $2::int8[], $3::int2[], $4::text[]) AS new (id, counter, kind, text)
    WHERE j.id = new.id AND j.counter = new.counter AND j.state = 2
    RETURNING j.id, j.due_at, j.claimed_at, j.counter, j.ord, j.line, j.attempt, j.flagged,
              j.keyed, new.kind, new.text
),
kept AS (
    INSERT INTO {s}.finished (id, finished_at, due_at, claimed_at, counter, settled_counter, ord, line,
                              attempt, state, settled_kind, flagged, result)
    SELECT id, now, due_at, claimed_at, counter, counter, ord, line, attempt,
           CASE kind WHEN 1 THEN 3 ELSE 4 END, kind, flagged, CASE kind WHEN 1 THEN text END
    FROM gone, t
),
error AS (
    INSERT INTO {s}.errors (id, counter, attempt, at, message)
    SELECT id, counter, attempt, now, text FROM gone, t WHERE kind <> 1
),
trimmed AS (
    DELETE FROM {s}.errors AS e USING gone
    WHERE gone.kind <> 1 AND gone.counter > 10 AND e.id = gone.id AND e.counter <= (
        SELECT o.counter FROM {s}.errors AS o WHERE o.id = gone.id
        ORDER BY o.counter DESC OFFSET 9 LIMIT 1)
),
key AS MATERIALIZED (
    SELECT k.queue, k.key FROM gone JOIN {s}.bodies AS b ON b.id = gone.id
    JOIN {s}.keys AS k ON k.queue = b.queue AND k.key = b.unique_key AND k.id = gone.id
    WHERE gone.keyed ORDER BY k.queue, k.key FOR UPDATE OF k
),
freed AS (
    DELETE FROM {s}.keys AS k USING key WHERE k.queue = key.queue AND k.key = key.key
),
ended_now AS (
    INSERT INTO {s}.ended (finished_at, state, ids)
    SELECT now, CASE kind WHEN 1 THEN 3 ELSE 4 END, array_agg(id) FROM gone, t GROUP BY now, CASE kind WHEN 1 THEN 3 ELSE 4 END
),
counted AS (
    INSERT INTO {s}.deltas (queue, running, completed, failed)
    SELECT line >> 2, -count(*), count(*) FILTER (WHERE kind = 1), count(*) FILTER (WHERE kind <> 1)
    FROM gone GROUP BY line >> 2
)
SELECT gone.id, (SELECT EXISTS (SELECT FROM {s}.watched))
       AND EXISTS (SELECT FROM {s}.watched AS w WHERE w.id = gone.id) FROM gone
