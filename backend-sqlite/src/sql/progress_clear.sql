-- A new attempt starts without values; the sequence stays. By seq.
UPDATE anyqueue_progress SET percent = NULL, step = NULL, message = NULL WHERE seq = ?1
