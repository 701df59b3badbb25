-- The jobs of a queue whose lease has run out, earliest first. Served by
-- anyqueue_running: stops at the first lease that still holds.
SELECT seq FROM anyqueue_jobs INDEXED BY anyqueue_running
WHERE queue = ?1 AND state = 2 AND ends_at <= ?2
ORDER BY ends_at, seq
LIMIT ?3
