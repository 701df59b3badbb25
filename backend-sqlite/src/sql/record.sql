-- Everything about a job but its errors. Served by the unique index on id,
-- the rest by primary keys.
SELECT j.seq, b.id, q.name, b.kind, b.payload, j.priority, j.state, j.attempt, j.counter,
       j.max_attempts, b.backoff, b.created_at, j.due_at, j.claimed_at, j.ends_at, w.name,
       j.cancel_requested, j.snooze_reason, p.sequence, p.percent, p.step, p.message, r.result,
       b.unique_key, b.unique_policy, b.tags, b.trace
FROM anyqueue_bodies AS b
CROSS JOIN anyqueue_jobs AS j ON j.seq = b.seq
CROSS JOIN anyqueue_queues AS q ON q.queue = j.queue
LEFT JOIN anyqueue_workers AS w ON w.worker = j.worker
LEFT JOIN anyqueue_progress AS p ON p.seq = j.seq
LEFT JOIN anyqueue_results AS r ON r.seq = j.seq
WHERE b.id = ?1
