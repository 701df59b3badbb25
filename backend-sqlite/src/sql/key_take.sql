-- Takes a key that key_find found free or past its period.
INSERT OR REPLACE INTO anyqueue_keys (queue, key, id, until) VALUES (?1, ?2, ?3, ?4)
