-- What a claim on an open queue may find, now or later: whether a job is
-- ready, when the next scheduled one is due, when the next lease ends. Each
-- reads the first entry of its index.
SELECT
    EXISTS (
        SELECT 1 FROM anyqueue_jobs INDEXED BY anyqueue_ready WHERE queue = q.queue AND state = 1
    ),
    (
        SELECT due_at FROM anyqueue_jobs INDEXED BY anyqueue_scheduled
        WHERE queue = q.queue AND state = 0 ORDER BY due_at LIMIT 1
    ),
    (
        SELECT ends_at FROM anyqueue_jobs INDEXED BY anyqueue_running
        WHERE queue = q.queue AND state = 2 ORDER BY ends_at LIMIT 1
    )
FROM anyqueue_queues AS q
WHERE q.name = ?1 AND q.paused = 0
