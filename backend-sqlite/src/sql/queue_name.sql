-- The name of a queue. Served by the primary key.
SELECT name FROM anyqueue_queues WHERE queue = ?1
