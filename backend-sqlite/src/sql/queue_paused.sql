-- Whether a queue is paused; read inside the claim's transaction, so that a
-- claim begun after a pause was answered takes nothing. Primary key.
SELECT paused FROM anyqueue_queues WHERE queue = ?1
