-- The first page of the ready jobs of a queue: reads all of them by
-- anyqueue_ready and sorts. Used where they are few among many jobs.
SELECT b.id FROM anyqueue_jobs AS j INDEXED BY anyqueue_ready
CROSS JOIN anyqueue_bodies AS b ON b.seq = j.seq
WHERE j.queue = ?6 AND j.state = 1 AND b.id < ?1
  AND (?3 IS NULL OR b.kind = ?3)
  AND (?4 IS NULL OR b.created_at >= ?4)
  AND (?5 IS NULL OR b.created_at < ?5)
ORDER BY b.id DESC
LIMIT ?2
