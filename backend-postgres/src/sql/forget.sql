-- Forgets workers that have not claimed for long and hold nothing, and watches that are
-- over. Small tables, walked whole; live rows by the index `running`.
WITH watch AS (DELETE FROM {s}.watched WHERE until < (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8))
DELETE FROM {s}.workers AS w
WHERE w.seen_at < (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8) - $1::int8
  AND NOT EXISTS (SELECT FROM {s}.live AS j WHERE j.state = 2 AND j.worker = w.worker OFFSET 0)
