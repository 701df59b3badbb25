-- One of the deletes that purge a job, all in one transaction. Primary key.
DELETE FROM anyqueue_tags WHERE tag = ?1 AND id = ?2
