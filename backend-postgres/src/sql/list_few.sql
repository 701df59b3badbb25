-- A page of the jobs in the states $7 of the lines $8, highest id first, by what
-- leads to those states: `waiting`, `held`, all finished ones, or `unsuccessful`. Used
-- where they are counted to be few.
WITH x AS MATERIALIZED (
    SELECT j.id FROM unnest($8::int4[]) AS u (line) JOIN {s}.live AS j
        ON j.line = u.line AND j.state < 2 AND j.state = ANY ($7::int2[])
    WHERE $7::int2[] && '{0,1}'::int2[]
    UNION
    SELECT j.id FROM {s}.held AS h CROSS JOIN LATERAL unnest(h.ids) AS u (id)
    CROSS JOIN LATERAL (SELECT * FROM {s}.live WHERE id = u.id OFFSET 0) AS j
    WHERE $7::int2[] && '{2}'::int2[] AND j.state = 2 AND j.line = ANY ($8::int4[])
    UNION
    SELECT f.id FROM {s}.finished AS f
    WHERE f.state = 3 AND f.line = ANY ($8::int4[]) AND $7::int2[] && '{3}'::int2[]
    UNION
    SELECT f.id FROM {s}.finished AS f
    WHERE f.state > 3 AND f.state = ANY ($7::int2[]) AND f.line = ANY ($8::int4[])
      AND $7::int2[] && '{4,5}'::int2[]
)
SELECT x.id FROM x CROSS JOIN LATERAL (
    SELECT * FROM {s}.bodies WHERE id = x.id OFFSET 0
) AS b
WHERE ($1::uuid IS NULL OR b.id < $1)
  AND ($3::text IS NULL OR b.kind = $3)
  AND ($4::int8 IS NULL OR b.created_at >= $4)
  AND ($5::int8 IS NULL OR b.created_at < $5)
  AND ($6::int4 IS NULL OR b.queue = $6)
ORDER BY x.id DESC LIMIT $2::int8
