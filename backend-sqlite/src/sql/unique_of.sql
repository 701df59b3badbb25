-- The key that a job was enqueued with. By seq.
SELECT unique_key FROM anyqueue_bodies WHERE seq = ?1
