-- The scheduled jobs of a queue that are due, earliest first. Served by
-- anyqueue_scheduled: stops at the first one that is not.
SELECT seq FROM anyqueue_jobs INDEXED BY anyqueue_scheduled
WHERE queue = ?1 AND state = 0 AND due_at <= ?2
ORDER BY due_at, seq
LIMIT ?3
