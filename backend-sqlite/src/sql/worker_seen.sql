-- The number of a worker, added or refreshed in one statement. Served by the
-- unique index on name.
INSERT INTO anyqueue_workers (name, seen_at) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at
RETURNING worker
