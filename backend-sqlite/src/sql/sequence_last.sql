-- The last seq given to a job. The table's one row.
SELECT last FROM anyqueue_sequence LIMIT 1
