-- A page of all jobs, highest id first: walks the unique index on id from the
-- cursor ?1 and drops what does not match. Used where most jobs match.
SELECT b.id FROM anyqueue_bodies AS b
CROSS JOIN anyqueue_jobs AS j ON j.seq = b.seq
WHERE b.id < ?1
  AND (?3 IS NULL OR b.kind = ?3)
  AND (?4 IS NULL OR b.created_at >= ?4)
  AND (?5 IS NULL OR b.created_at < ?5)
  AND (?6 IS NULL OR j.queue = ?6)
  AND (?7 & (1 << j.state)) != 0
ORDER BY b.id DESC
LIMIT ?2
