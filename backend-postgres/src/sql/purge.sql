-- Removes jobs of one finished state that ended at least $2 microseconds ago, earliest
-- first, at most $3 of them. Served by the index `ended_at`; the rest goes by primary
-- keys. A row of `ended` that is locked is being purged by another call; one that is
-- taken in part keeps the rest of its jobs. Jobs that were run again meanwhile have
-- another end.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
found AS MATERIALIZED (
    SELECT e.ctid AS place, e.finished_at, e.ids FROM {s}.ended AS e
    WHERE e.state = $1::int2 AND e.finished_at <= (SELECT now - $2::int8 FROM t)
    ORDER BY e.finished_at LIMIT $3::int8 FOR UPDATE SKIP LOCKED
),
part AS MATERIALIZED (
    SELECT place, finished_at, ids, cardinality(ids) AS whole,
           $3::int8 - sum(cardinality(ids)) OVER (ORDER BY finished_at, place)
               + cardinality(ids) AS room
    FROM found
),
old AS MATERIALIZED (
    SELECT u.id, part.finished_at
    FROM part CROSS JOIN LATERAL unnest(part.ids) WITH ORDINALITY AS u (id, n)
    WHERE u.n <= part.room
),
taken AS (DELETE FROM {s}.ended AS e USING part WHERE e.ctid = part.place AND room >= whole),
cut AS (
    UPDATE {s}.ended AS e SET ids = e.ids[part.room::int4 + 1 :] FROM part
    WHERE e.ctid = part.place AND room > 0 AND room < whole
),
gone AS (
    DELETE FROM {s}.finished AS x USING old
    WHERE x.id = old.id AND x.finished_at = old.finished_at AND x.state = $1::int2
    RETURNING x.id, x.line
),
body AS (DELETE FROM {s}.bodies AS x USING gone WHERE x.id = gone.id RETURNING x.id, x.tags),
progress AS (DELETE FROM {s}.progress AS x USING gone WHERE x.id = gone.id),
error AS (DELETE FROM {s}.errors AS x USING gone WHERE x.id = gone.id),
tag AS (
    DELETE FROM {s}.tags AS x
    USING (SELECT body.id, json_array_elements_text(body.tags::json) AS tag FROM body
           WHERE body.tags IS NOT NULL) AS b
    WHERE x.tag = b.tag AND x.id = b.id
),
counted AS (
    INSERT INTO {s}.deltas (queue, completed, failed, cancelled)
    SELECT line >> 2, CASE $1::int2 WHEN 3 THEN -count(*) ELSE 0 END,
           CASE $1::int2 WHEN 4 THEN -count(*) ELSE 0 END,
           CASE $1::int2 WHEN 5 THEN -count(*) ELSE 0 END
    FROM gone GROUP BY line >> 2
)
SELECT (SELECT count(*) FROM old), gone.id FROM (SELECT 1) AS one LEFT JOIN gone ON true
