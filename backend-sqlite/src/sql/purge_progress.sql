-- One of the deletes that purge a job, all in one transaction. By seq.
DELETE FROM anyqueue_progress WHERE seq = ?1
