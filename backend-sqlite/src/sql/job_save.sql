-- Writes back a job that no one holds (any more). It was read in this same
-- write transaction, so that nothing can have changed in between. By seq.
UPDATE anyqueue_jobs
SET state = ?2, due_at = ?3, attempt = ?4, cancel_requested = ?5, settled_counter = ?6,
    settled_kind = ?7, ends_at = ?8, snooze_reason = ?9, worker = NULL
WHERE seq = ?1
