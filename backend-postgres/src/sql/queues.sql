-- All queues with their jobs by state: totals, and what was appended since. One row a
-- queue, and the deltas that were not folded yet; no job is read.
SELECT q.queue, q.name, q.paused,
       coalesce(sum(c.scheduled), 0)::int8, coalesce(sum(c.ready), 0)::int8,
       coalesce(sum(c.running), 0)::int8, coalesce(sum(c.completed), 0)::int8,
       coalesce(sum(c.failed), 0)::int8, coalesce(sum(c.cancelled), 0)::int8
FROM {s}.queues AS q LEFT JOIN (
    SELECT queue, scheduled, ready, running, completed, failed, cancelled FROM {s}.totals
    UNION ALL
    SELECT queue, sum(scheduled), sum(ready), sum(running), sum(completed), sum(failed),
           sum(cancelled)
    FROM {s}.deltas GROUP BY queue
) AS c ON c.queue = q.queue
GROUP BY q.queue
