-- Gives a ready job to a worker. Its row was read in this transaction, which
-- holds the file's write lock: no one else can have taken it. By seq.
UPDATE anyqueue_jobs
SET state = 2, attempt = attempt + 1, counter = counter + 1,
    worker = ?2, claimed_at = ?3, ends_at = ?4, snooze_reason = NULL
WHERE seq = ?1
