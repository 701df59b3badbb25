-- Who holds a unique key, and until when. Primary key. Runs in the write
-- transaction that then takes the key: no one can take it in between.
SELECT id, until FROM anyqueue_keys WHERE queue = ?1 AND key = ?2
