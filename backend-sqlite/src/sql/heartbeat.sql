-- Extends a lease where the token (id ?1, counter ?2) holds the job: check and
-- change are one statement. Served by the unique index on id, then seq.
UPDATE anyqueue_jobs SET ends_at = ?3
WHERE seq = (SELECT seq FROM anyqueue_bodies WHERE id = ?1) AND counter = ?2 AND state = 2
RETURNING cancel_requested
