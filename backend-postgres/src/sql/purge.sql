-- Removes jobs of one finished state that ended at least $2 microseconds ago, earliest
-- first. Served by the index `ended`; the rest goes by primary keys. A row that is
-- locked is being retried by hand or purged by another call.
WITH t AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now),
old AS MATERIALIZED (
    SELECT f.id, f.line FROM {s}.finished AS f
    WHERE f.state = $1::int2 AND f.finished_at <= (SELECT now - $2::int8 FROM t)
    ORDER BY f.finished_at LIMIT $3::int8 FOR UPDATE SKIP LOCKED
),
finished AS (DELETE FROM {s}.finished AS x USING old WHERE x.id = old.id),
body AS (DELETE FROM {s}.bodies AS x USING old WHERE x.id = old.id RETURNING x.id, x.tags),
progress AS (DELETE FROM {s}.progress AS x USING old WHERE x.id = old.id),
error AS (DELETE FROM {s}.errors AS x USING old WHERE x.id = old.id),
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
    FROM old GROUP BY line >> 2
)
SELECT old.id FROM old
