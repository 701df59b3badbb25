-- Adds queues. One that another call adds at the same moment is left out of the answer
-- and found by the next look.
INSERT INTO {s}.queues (name) SELECT name FROM unnest($1::text[]) AS u (name) ORDER BY name
ON CONFLICT (name) DO NOTHING RETURNING name, queue
