-- Opens (0) or pauses (1) a queue. Primary key.
UPDATE anyqueue_queues SET paused = ?2 WHERE queue = ?1
