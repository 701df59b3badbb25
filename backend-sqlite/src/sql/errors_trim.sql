-- Keeps the latest ?2 errors of a job. Served by the primary key.
DELETE FROM anyqueue_errors
WHERE seq = ?1 AND counter <= (
    SELECT counter FROM anyqueue_errors WHERE seq = ?1 ORDER BY counter DESC LIMIT 1 OFFSET ?2
)
