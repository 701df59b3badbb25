-- Flags a running job, read in this transaction, for cancellation. By seq.
UPDATE anyqueue_jobs SET cancel_requested = 1 WHERE seq = ?1
