-- Forgets a share of the workers not seen since ?1 that hold nothing. Served
-- by anyqueue_workers_seen; the running jobs are looked through only where an
-- old worker was found.
DELETE FROM anyqueue_workers
WHERE worker IN (SELECT worker FROM anyqueue_workers WHERE seen_at < ?1 ORDER BY seen_at LIMIT ?2)
  AND worker NOT IN (SELECT worker FROM anyqueue_jobs WHERE state = 2 AND worker IS NOT NULL)
