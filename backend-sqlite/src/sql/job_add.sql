-- A new job's moving part, under the seq that its body just got.
INSERT INTO anyqueue_jobs (seq, queue, state, priority, due_at, max_attempts, keyed)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
