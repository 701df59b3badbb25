-- The jobs of a queue that ended in state ?2 at ?3 or before, earliest first,
-- with their size, which is read without the texts. Served by
-- anyqueue_finished: stops at the first one to keep.
SELECT j.seq, octet_length(b.payload) + coalesce(octet_length(r.result), 0)
FROM anyqueue_jobs AS j INDEXED BY anyqueue_finished
CROSS JOIN anyqueue_bodies AS b ON b.seq = j.seq
LEFT JOIN anyqueue_results AS r ON r.seq = j.seq
WHERE j.queue = ?1 AND j.state >= 3 AND j.state = ?2 AND j.ends_at <= ?3
ORDER BY j.ends_at, j.seq
LIMIT ?4
