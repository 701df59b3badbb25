-- A new job's moving part, under the seq of its body.
INSERT INTO anyqueue_jobs (seq, queue, state, priority, due_at, max_attempts, keyed)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
