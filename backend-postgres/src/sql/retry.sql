-- Runs failed and cancelled jobs again. A key held while unfinished is taken again, as
-- in enqueue_known.sql, unless another job holds it. By primary key, in the order of
-- ids; each job once. Of several with one key the first in the call counts.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
found AS MATERIALIZED (
    SELECT f.*, u.n FROM unnest($1::uuid[], $2::int4[]) AS u (id, n)
    JOIN {s}.finished AS f ON f.id = u.id AND f.state + 0 IN (4, 5)
    ORDER BY f.id FOR UPDATE OF f
),
job AS MATERIALIZED (
    SELECT found.*, b.keyed, b.unique_key, b.max_attempts, octet_length(b.payload) AS size
    FROM found JOIN {s}.bodies AS b ON b.id = found.id
),
taken AS (
    INSERT INTO {s}.keys AS k (queue, key, id, until, taken)
    SELECT DISTINCT ON (line >> 2, unique_key COLLATE "C")
           line >> 2, unique_key, id, NULL::int8, $3::int8
    FROM job WHERE keyed ORDER BY line >> 2, unique_key COLLATE "C", n
    ON CONFLICT (queue, key) DO UPDATE SET
        id = CASE WHEN k.until <= (SELECT now FROM t) THEN excluded.id ELSE k.id END,
        until = CASE WHEN k.until <= (SELECT now FROM t) THEN NULL ELSE k.until END,
        taken = CASE WHEN k.until <= (SELECT now FROM t) THEN excluded.taken ELSE k.taken END
    RETURNING k.queue, k.key, k.id
),
winner AS MATERIALIZED (
    SELECT job.*, taken.id AS holder FROM job
    LEFT JOIN taken ON taken.queue = job.line >> 2 AND taken.key = job.unique_key
),
gone AS (
    DELETE FROM {s}.finished AS f USING winner
    WHERE f.id = winner.id AND (winner.holder IS NULL OR winner.holder = winner.id)
),
live AS (
    INSERT INTO {s}.live (id, due_at, claimed_at, counter, settled_counter, line, ord,
                          max_attempts, size, state, settled_kind, keyed, later, snooze_reason)
    SELECT id, now, claimed_at, counter, settled_counter, line, ord, max_attempts, size, 1,
           settled_kind, keyed, false, snooze_reason
    FROM winner, t WHERE holder IS NULL OR holder = id
),
cleared AS (
    UPDATE {s}.progress AS p SET percent = NULL, step = NULL, message = NULL
    FROM winner WHERE p.id = winner.id AND (holder IS NULL OR holder = winner.id)
),
counted AS (
    INSERT INTO {s}.deltas (queue, ready, failed, cancelled)
    SELECT line >> 2, count(*), -count(*) FILTER (WHERE state = 4),
           -count(*) FILTER (WHERE state = 5)
    FROM winner WHERE holder IS NULL OR holder = id GROUP BY line >> 2
)
SELECT id, coalesce(holder, id), line, EXISTS (SELECT FROM {s}.watched AS w WHERE w.id = winner.id)
FROM winner
