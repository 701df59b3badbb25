-- The number of a queue. Served by the unique index on name.
SELECT queue FROM anyqueue_queues WHERE name = ?1
