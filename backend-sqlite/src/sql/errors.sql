-- The kept errors of a job, oldest first. Served by the primary key.
SELECT attempt, at, message FROM anyqueue_errors WHERE seq = ?1 ORDER BY counter
