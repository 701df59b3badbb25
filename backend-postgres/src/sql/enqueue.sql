-- Stores new jobs: body, place and count in one statement, so all or nothing. Fails
-- on an id that is known; the caller then asks again with enqueue_known.sql. Rows
-- come sorted by id, so that calls which share ids wait in one order and cannot
-- deadlock. A microsecond has 2,048 places in the order of enqueues (from the year
-- 2020 on: enough until 2162). What jobs of a call have in common ($8 to $16) is given
-- once, and $3 says which of it each has: an array a column for all jobs costs more
-- than their rows. $3, $4 (the place in the call), $5, $6 and $7 (moment) are NULL
-- where every job has the first, its own, or none. $16: delay.
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
               ($16::int8[])[coalesce(u.k, 1)] AS delay
        FROM t, unnest($1::uuid[], $2::text[], $3::int4[], $4::int4[], $5::text[], $6::text[],
                       $7::int8[])
            WITH ORDINALITY AS u (id, payload, k, place, unique_key, trace, at, n)
    ) AS c
),
body AS (
    INSERT INTO {s}.bodies (id, created_at, queue, max_attempts, priority, keyed, kind, backoff,
                            unique_key, unique_policy, trace, tags, payload)
    SELECT id, now, queue, max_attempts, priority, keyed, kind, backoff,
           unique_key, unique_policy, trace, tags, payload
    FROM new
),
live AS (
    INSERT INTO {s}.live (id, due_at, line, ord, max_attempts, size, state, keyed, later)
    SELECT id, due_at, queue * 4 + 3 - priority,
           (now - 1577836800000000) * 2048 + ord, max_attempts, octet_length(payload),
           CASE WHEN due_at > now THEN 0 ELSE 1 END, keyed, due_at > now
    FROM new
),
tag AS (
    INSERT INTO {s}.tags (tag, id)
    SELECT tag, id FROM unnest($17::text[], $18::uuid[]) AS u (tag, id)
    ON CONFLICT DO NOTHING
)
INSERT INTO {s}.deltas (queue, scheduled, ready)
SELECT queue, count(*) FILTER (WHERE due_at > now), count(*) FILTER (WHERE due_at <= now)
FROM new GROUP BY queue
