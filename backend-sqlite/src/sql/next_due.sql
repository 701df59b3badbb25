-- From when on a claim on this queue finds something: 0 where a job is ready,
-- else when the next one is due or the next lease ends; NULL where time alone
-- brings nothing, or the queue is paused. One entry of each index is read.
SELECT CASE
    WHEN EXISTS (
        SELECT 1 FROM anyqueue_jobs INDEXED BY anyqueue_ready WHERE queue = q.queue AND state = 1
    ) THEN 0
    ELSE (
        SELECT min(at) FROM (
            SELECT * FROM (
                SELECT due_at AS at FROM anyqueue_jobs INDEXED BY anyqueue_scheduled
                WHERE queue = q.queue AND state = 0 ORDER BY due_at LIMIT 1
            )
            UNION ALL
            SELECT * FROM (
                SELECT ends_at FROM anyqueue_jobs INDEXED BY anyqueue_running
                WHERE queue = q.queue AND state = 2 ORDER BY ends_at LIMIT 1
            )
        )
    )
END
FROM anyqueue_queues AS q
WHERE q.name = ?1 AND q.paused = 0
