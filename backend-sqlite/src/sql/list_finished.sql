-- The first page of the jobs of a queue that ended in state ?7: reads all of
-- them by anyqueue_finished and sorts. Used where they are few among many.
SELECT b.id FROM anyqueue_jobs AS j INDEXED BY anyqueue_finished
CROSS JOIN anyqueue_bodies AS b ON b.seq = j.seq
WHERE j.queue = ?6 AND j.state >= 3 AND j.state = ?7 AND b.id < ?1
  AND (?3 IS NULL OR b.kind = ?3)
  AND (?4 IS NULL OR b.created_at >= ?4)
  AND (?5 IS NULL OR b.created_at < ?5)
ORDER BY b.id DESC
LIMIT ?2
