-- Frees a share of the keys whose period is over. Served by
-- anyqueue_keys_until; each row is then found by its primary key.
DELETE FROM anyqueue_keys
WHERE (queue, key) IN (
    SELECT queue, key FROM anyqueue_keys WHERE until <= ?1 ORDER BY until LIMIT ?2
)
