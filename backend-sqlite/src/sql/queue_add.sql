-- A new queue. Runs in a write transaction after queue_find found none, so
-- that no one else can have added it in between.
INSERT INTO anyqueue_queues (name) VALUES (?1)
