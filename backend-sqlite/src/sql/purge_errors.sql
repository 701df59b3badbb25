-- One of the deletes that purge a job, all in one transaction. Primary key.
DELETE FROM anyqueue_errors WHERE seq = ?1
