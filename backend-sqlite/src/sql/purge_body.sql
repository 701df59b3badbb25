-- One of the deletes that purge a job, all in one transaction. By seq. Gives
-- back what leads to the labels' rows and to who waits for the job.
DELETE FROM anyqueue_bodies WHERE seq = ?1 RETURNING id, tags
