-- A job's moving part by its seq. Primary keys.
SELECT j.seq, b.id, j.queue, j.state, j.due_at, j.max_attempts, j.keyed, j.attempt, j.counter,
       j.cancel_requested, j.settled_counter, j.settled_kind, j.ends_at, j.snooze_reason
FROM anyqueue_jobs AS j JOIN anyqueue_bodies AS b ON b.seq = j.seq
WHERE j.seq = ?1
