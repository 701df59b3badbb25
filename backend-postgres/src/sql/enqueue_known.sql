-- Stores those new jobs whose id is not known and whose unique key is free, and
-- answers for each who holds its key. A call names each id once; of
-- several jobs with one key the first in the call counts. Keys first, sorted, then bodies,
-- sorted by id: no two calls wait for each other. A key's row is
-- rewritten unchanged where it is held, which locks and returns its latest version:
-- the answer is right beside any other call. $19 names this call: a key that names
-- this job but was taken by another call has outlived the job, which is not stored again.
-- Parameters as in enqueue.sql; $20: how long a key is held.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
new AS MATERIALIZED (
    SELECT c.*, greatest(coalesce(c.at, c.now + c.delay), c.now) AS due_at
    FROM (
        SELECT u.id, u.payload, u.unique_key, u.trace, u.at, t.now, coalesce(u.place, u.n) AS ord,
               ($8::int4[])[coalesce(u.k, 1)] AS queue,
               ($9::int2[])[coalesce(u.k, 1)] AS priority,
               ($10::int4[])[coalesce(u.k, 1)] AS max_attempts,
               ($11::bool[])[coalesce(u.k, 1)] AS keyed,
               ($12::text[])[coalesce(u.k, 1)] AS kind,
               ($13::text[])[coalesce(u.k, 1)] AS backoff,
               ($14::text[])[coalesce(u.k, 1)] AS unique_policy,
               ($15::text[])[coalesce(u.k, 1)] AS tags,
               ($16::int8[])[coalesce(u.k, 1)] AS delay,
               t.now + ($20::int8[])[coalesce(u.k, 1)] AS until
        FROM t, unnest($1::uuid[], $2::text[], $3::int4[], $4::int4[], $5::text[], $6::text[],
                       $7::int8[])
            WITH ORDINALITY AS u (id, payload, k, place, unique_key, trace, at, n)
        WHERE NOT EXISTS (SELECT FROM {s}.bodies AS b WHERE b.id = u.id)
    ) AS c
),
taken AS (
    INSERT INTO {s}.keys AS k (queue, key, id, until, taken)
    SELECT DISTINCT ON (queue, unique_key COLLATE "C") queue, unique_key, id, until, $19::int8
    FROM new WHERE unique_key IS NOT NULL ORDER BY queue, unique_key COLLATE "C", ord
    ON CONFLICT (queue, key) DO UPDATE SET
        id = CASE WHEN k.until <= (SELECT now FROM t) THEN excluded.id ELSE k.id END,
        until = CASE WHEN k.until <= (SELECT now FROM t) THEN excluded.until ELSE k.until END,
        taken = CASE WHEN k.until <= (SELECT now FROM t) THEN excluded.taken ELSE k.taken END
    RETURNING k.queue, k.key, k.id, k.taken
),
winner AS MATERIALIZED (
    SELECT new.* FROM new
    LEFT JOIN taken ON taken.queue = new.queue AND taken.key = new.unique_key
    WHERE new.unique_key IS NULL OR (taken.id = new.id AND taken.taken = $19)
    ORDER BY new.id
),
body AS (
    INSERT INTO {s}.bodies (id, created_at, queue, max_attempts, priority, keyed, kind, backoff,
                            unique_key, unique_policy, trace, tags, payload)
    SELECT id, now, queue, max_attempts, priority, keyed, kind, backoff,
           unique_key, unique_policy, trace, tags, payload
    FROM winner
    ON CONFLICT (id) DO NOTHING
    RETURNING id
),
stored AS MATERIALIZED (SELECT winner.* FROM winner JOIN body USING (id)),
live AS (
    INSERT INTO {s}.live (id, due_at, line, ord, max_attempts, size, state, keyed, later)
    SELECT id, due_at, queue * 4 + 3 - priority,
           (now - 1577836800000000) * 2048 + ord, max_attempts, octet_length(payload),
           CASE WHEN due_at > now THEN 0 ELSE 1 END, keyed, due_at > now
    FROM stored
),
tag AS (
    INSERT INTO {s}.tags (tag, id)
    SELECT u.tag, u.id FROM unnest($17::text[], $18::uuid[]) AS u (tag, id)
    JOIN stored ON stored.id = u.id
    ON CONFLICT DO NOTHING
),
counted AS (
    INSERT INTO {s}.deltas (queue, scheduled, ready)
    SELECT queue, count(*) FILTER (WHERE due_at > now), count(*) FILTER (WHERE due_at <= now)
    FROM stored GROUP BY queue
)
SELECT new.id, taken.id FROM new
JOIN taken ON taken.queue = new.queue AND taken.key = new.unique_key
WHERE taken.id <> new.id
