-- The number of a worker, which is remembered from now on.
INSERT INTO {s}.workers AS w (name, seen_at) VALUES ($1::text, (extract(epoch FROM clock_timestamp()) * 1000000)::int8)
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at
RETURNING w.worker
