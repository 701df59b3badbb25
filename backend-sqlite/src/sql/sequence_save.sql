-- Keeps the last seq that a transaction gave, in its last step. The file's
-- write lock is held since before it was read. The table's one row.
UPDATE anyqueue_sequence SET last = ?1
