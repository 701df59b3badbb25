-- Opens or pauses a queue, which may be new.
INSERT INTO {s}.queues AS q (name, paused) VALUES ($1::text, $2::bool)
ON CONFLICT (name) DO UPDATE SET paused = excluded.paused
RETURNING q.queue
