-- A job's moving part by its id. Served by the unique index on id, then seq.
SELECT j.seq, b.id, j.queue, j.state, j.due_at, j.max_attempts, j.keyed, j.attempt, j.counter,
       j.cancel_requested, j.settled_counter, j.settled_kind, j.ends_at, j.snooze_reason
FROM anyqueue_bodies AS b CROSS JOIN anyqueue_jobs AS j ON j.seq = b.seq
WHERE b.id = ?1
