-- Frees unique keys whose period is over. Served by the index `keys_until`.
DELETE FROM {s}.keys AS k
USING (
    SELECT queue, key FROM {s}.keys
    WHERE until IS NOT NULL AND until <= (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8)
    ORDER BY until LIMIT $1::int8 FOR UPDATE SKIP LOCKED
) AS over
WHERE k.queue = over.queue AND k.key = over.key
