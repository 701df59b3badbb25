-- Completes a job in one step, where the token (seq ?1, counter ?2) holds it:
-- check and change are one statement. By seq. Outcome 1 is complete.
UPDATE anyqueue_jobs
SET state = 3, ends_at = ?3, settled_counter = ?2, settled_kind = 1, worker = NULL
WHERE seq = ?1 AND counter = ?2 AND state = 2
