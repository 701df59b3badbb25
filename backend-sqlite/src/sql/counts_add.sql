-- What a whole transaction changed in one queue's counts, in its last step:
-- they become visible together with the jobs they count. Primary key.
UPDATE anyqueue_queues
SET scheduled = scheduled + ?2, ready = ready + ?3, running = running + ?4,
    completed = completed + ?5, failed = failed + ?6, cancelled = cancelled + ?7
WHERE queue = ?1
