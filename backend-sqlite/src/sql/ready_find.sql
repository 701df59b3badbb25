-- The first ready jobs of a queue in the order of claims, with their bodies.
-- anyqueue_ready gives exactly this order, so that only the jobs taken are
-- read, however long the backlog. Runs in the claim's write transaction.
SELECT j.seq, b.id, j.counter, j.attempt, j.max_attempts, j.priority, j.due_at, j.keyed,
       b.created_at, b.kind, b.backoff, b.trace, b.tags, b.payload
FROM anyqueue_jobs AS j INDEXED BY anyqueue_ready
CROSS JOIN anyqueue_bodies AS b ON b.seq = j.seq
WHERE j.queue = ?1 AND j.state = 1
ORDER BY j.priority DESC, j.due_at, j.seq
LIMIT ?2
