-- Frees the key that a job (queue ?1, seq ?2, id ?3) held while unfinished; a
-- key that meanwhile is another's stays. Primary keys.
DELETE FROM anyqueue_keys
WHERE queue = ?1 AND key = (SELECT unique_key FROM anyqueue_bodies WHERE seq = ?2)
  AND id = ?3 AND until IS NULL
