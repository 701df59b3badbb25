-- Everything about some jobs. By primary keys; one snapshot, so that each job is in
-- `live` or in `finished`.
SELECT b.id, q.name, b.kind, b.payload, b.priority, coalesce(j.state, f.state),
       coalesce(j.attempt, f.attempt), coalesce(j.counter, f.counter), b.max_attempts, b.backoff,
       b.created_at, coalesce(j.due_at, f.due_at), coalesce(j.claimed_at, f.claimed_at),
       j.lease_until, f.finished_at, w.name, coalesce(j.flagged, f.flagged),
       coalesce(j.snooze_reason, f.snooze_reason), p.sequence, p.percent, p.step, p.message,
       f.result, b.unique_key, b.unique_policy, b.tags, b.trace,
       CASE WHEN coalesce(j.counter, f.counter) > 0 THEN
           ARRAY(SELECT e.attempt FROM {s}.errors AS e WHERE e.id = b.id ORDER BY e.counter) END,
       CASE WHEN coalesce(j.counter, f.counter) > 0 THEN
           ARRAY(SELECT e.at FROM {s}.errors AS e WHERE e.id = b.id ORDER BY e.counter) END,
       CASE WHEN coalesce(j.counter, f.counter) > 0 THEN
           ARRAY(SELECT e.message FROM {s}.errors AS e WHERE e.id = b.id ORDER BY e.counter) END
FROM unnest($1::uuid[]) AS u (id)
JOIN {s}.bodies AS b ON b.id = u.id
JOIN {s}.queues AS q ON q.queue = b.queue
LEFT JOIN {s}.live AS j ON j.id = u.id
LEFT JOIN {s}.finished AS f ON f.id = u.id
LEFT JOIN {s}.workers AS w ON w.worker = j.worker
LEFT JOIN {s}.progress AS p ON p.id = u.id
