-- All queues with their counts: one row a queue, never the jobs. A queue that
-- holds nothing and is not paused is dropped by the reader.
SELECT name, paused, scheduled, ready, running, completed, failed, cancelled, queue
FROM anyqueue_queues
