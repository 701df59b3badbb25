-- Marks due jobs as ready; a claim takes them either way. Served by the index
-- `scheduled`. Jobs that are locked are being claimed or cancelled. Those that changed
-- between the snapshot and the lock are not found by their place, and left to the next look.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
due AS MATERIALIZED (
    SELECT j.ctid AS place FROM {s}.live AS j
    WHERE j.later AND j.state = 0 AND j.due_at <= (SELECT now FROM t)
    ORDER BY j.due_at LIMIT $1::int8 FOR UPDATE SKIP LOCKED
),
ready AS (
    UPDATE {s}.live AS j SET state = 1, later = false FROM due WHERE j.ctid = due.place
    RETURNING j.id, j.line
),
counted AS (
    INSERT INTO {s}.deltas (queue, scheduled, ready)
    SELECT line >> 2, -count(*), count(*) FROM ready GROUP BY line >> 2
)
SELECT ready.id, ready.line, EXISTS (SELECT FROM {s}.watched AS w WHERE w.id = ready.id) FROM ready
