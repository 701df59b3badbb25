-- Says that some process waits for these jobs. Without waiting for the disk: a hint.
WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true) AS off)
INSERT INTO {s}.watched AS w (id, until)
SELECT u.id, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8) + $2::int8 FROM quick, unnest($1::uuid[]) AS u (id)
WHERE quick.off IS NOT NULL ORDER BY u.id
ON CONFLICT (id) DO UPDATE SET until = excluded.until
