-- Ends waiting jobs as cancelled and flags running ones. Each row is locked first and
-- read as it is then, so that a claim at the same moment comes before or after. By
-- primary key, in the order of ids; then keys, in the order of enqueues.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
found AS MATERIALIZED (
    SELECT j.* FROM unnest($1::uuid[]) AS u (id) JOIN {s}.live AS j ON j.id = u.id
    ORDER BY j.id FOR UPDATE OF j
),
flagged AS (
    UPDATE {s}.live AS j SET flagged = true
    FROM found WHERE j.id = found.id AND found.state = 2 AND NOT found.flagged
),
ended AS (
    DELETE FROM {s}.live AS j USING found WHERE j.id = found.id AND found.state < 2
),
kept AS (
    INSERT INTO {s}.finished (id, finished_at, due_at, claimed_at, counter, settled_counter, ord, line,
                              attempt, state, settled_kind, flagged, snooze_reason)
    SELECT id, now, due_at, claimed_at, counter, settled_counter, ord, line, attempt, 5,
           settled_kind, flagged, snooze_reason
    FROM found, t WHERE state < 2
),
key AS MATERIALIZED (
    SELECT k.queue, k.key FROM found JOIN {s}.bodies AS b ON b.id = found.id
    JOIN {s}.keys AS k ON k.queue = b.queue AND k.key = b.unique_key AND k.id = found.id
    WHERE found.keyed AND found.state < 2 ORDER BY k.queue, k.key FOR UPDATE OF k
),
freed AS (
    DELETE FROM {s}.keys AS k USING key WHERE k.queue = key.queue AND k.key = key.key
),
ended_now AS (
    INSERT INTO {s}.ended (finished_at, state, ids)
    SELECT now, 5, array_agg(id) FROM found, t WHERE state < 2 GROUP BY now
),
counted AS (
    INSERT INTO {s}.deltas (queue, scheduled, ready, cancelled)
    SELECT line >> 2, -count(*) FILTER (WHERE state = 0), -count(*) FILTER (WHERE state = 1),
           count(*)
    FROM found WHERE state < 2 GROUP BY line >> 2
)
SELECT found.id, found.state, EXISTS (SELECT FROM {s}.watched AS w WHERE w.id = found.id) FROM found
