-- A due job becomes ready; its due time keeps its place. By seq.
UPDATE anyqueue_jobs SET state = 1 WHERE seq = ?1
