-- Stores reports on the jobs that their tokens hold. The lock on each job's row keeps
-- its holder what it is until the report is stored. Each job once, sorted by id.
-- (`+ 0` keeps the planner from walking the index `running` instead.)
WITH new AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::int8[], $3::int2[], $4::int4[], $5::text[])
        AS u (id, counter, percent, step, message)
),
held AS MATERIALIZED (
    SELECT j.id, j.flagged, new.percent, new.step, new.message
    FROM new JOIN {s}.live AS j ON j.id = new.id AND j.counter = new.counter AND j.state + 0 = 2
    ORDER BY j.id FOR NO KEY UPDATE OF j
),
stored AS (
    INSERT INTO {s}.progress AS p (id, sequence, percent, step, message)
    SELECT id, 1, percent, step, message FROM held
    ON CONFLICT (id) DO UPDATE SET sequence = p.sequence + 1, percent = excluded.percent,
        step = excluded.step, message = excluded.message
)
SELECT held.id, held.flagged, EXISTS (SELECT FROM {s}.watched AS w WHERE w.id = held.id) FROM held
