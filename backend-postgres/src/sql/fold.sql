-- Folds counts: what was appended to `deltas` goes into `totals`. One statement: every
-- reader sees each change in one of the two. Only one call at a time folds ($1 is the
-- advisory lock); others find nothing to do. Deltas are few: they are walked whole.
WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock($1::int8) AS mine),
gone AS (
    DELETE FROM {s}.deltas WHERE ctid = ANY (ARRAY(
        SELECT d.ctid FROM {s}.deltas AS d WHERE (SELECT mine FROM turn) LIMIT $2::int8))
    RETURNING *
)
INSERT INTO {s}.totals AS t (queue, scheduled, ready, running, completed, failed, cancelled)
SELECT queue, sum(scheduled), sum(ready), sum(running), sum(completed), sum(failed),
       sum(cancelled)
FROM gone GROUP BY queue ORDER BY queue
ON CONFLICT (queue) DO UPDATE SET
    scheduled = t.scheduled + excluded.scheduled, ready = t.ready + excluded.ready,
    running = t.running + excluded.running, completed = t.completed + excluded.completed,
    failed = t.failed + excluded.failed, cancelled = t.cancelled + excluded.cancelled
