-- Stores new jobs: body, place and count in one statement, so all or nothing. Fails
-- on an id that is known; the caller then asks again with enqueue_known.sql. Rows
-- come sorted by id, so that calls which share ids wait in one order and cannot
-- deadlock. $3: the place in the call, $14: delay, $15: moment.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
new AS MATERIALIZED (
    SELECT u.id, u.queue, u.ord, u.priority, u.max_attempts, u.keyed, u.kind, u.backoff,
           u.unique_key, u.unique_policy, u.trace, u.tags, u.payload, t.now,
           greatest(coalesce(u.at, t.now + u.delay), t.now) AS due_at
    FROM t, unnest($1::uuid[], $2::int4[], $3::int4[], $4::int2[], $5::int4[], $6::bool[],
                   $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                   $13::text[], $14::int8[], $15::int8[])
        AS u (id, queue, ord, priority, max_attempts, keyed, kind, backoff, unique_key,
              unique_policy, trace, tags, payload, delay, at)
),
body AS (
    INSERT INTO {s}.bodies (id, created_at, queue, max_attempts, priority, keyed, kind, backoff,
                            unique_key, unique_policy, trace, tags, payload)
    SELECT id, now, queue, max_attempts, priority, keyed, kind, backoff,
           unique_key, unique_policy, trace, tags, payload
    FROM new
),
live AS (
    INSERT INTO {s}.live (id, due_at, line, ord, max_attempts, state, keyed)
    SELECT id, due_at, queue * 4 + 3 - priority, ord, max_attempts,
           CASE WHEN due_at > now THEN 0 ELSE 1 END, keyed
    FROM new
),
tag AS (
    INSERT INTO {s}.tags (tag, id)
    SELECT tag, id FROM unnest($16::text[], $17::uuid[]) AS u (tag, id)
    ON CONFLICT DO NOTHING
)
INSERT INTO {s}.deltas (queue, scheduled, ready)
SELECT queue, count(*) FILTER (WHERE due_at > now), count(*) FILTER (WHERE due_at <= now)
FROM new GROUP BY queue
