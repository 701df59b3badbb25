-- The jobs of a queue that ended in state ?2 at ?3 or before, earliest first.
-- Served by anyqueue_finished: stops at the first one to keep.
SELECT seq FROM anyqueue_jobs INDEXED BY anyqueue_finished
WHERE queue = ?1 AND state >= 3 AND state = ?2 AND ends_at <= ?3
ORDER BY ends_at, seq
LIMIT ?4
