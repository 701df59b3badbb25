-- A page of the jobs in the states $7 of the lines $8, highest id first, by the indexes
-- of those states. Used where they are counted to be few.
SELECT b.id FROM (
    SELECT j.id FROM unnest($8::int4[]) AS u (line) JOIN {s}.live AS j
        ON j.state < 2 AND j.line = u.line AND j.state = ANY ($7::int2[])
    WHERE $7::int2[] && '{0,1}'::int2[]
    UNION ALL
    SELECT j.id FROM {s}.live AS j
    WHERE j.state = 2 AND $7::int2[] && '{2}'::int2[] AND j.line = ANY ($8::int4[])
    UNION ALL
    SELECT f.id FROM unnest($7::int2[]) AS u (state) JOIN {s}.finished AS f
        ON f.state = u.state AND f.line = ANY ($8::int4[])
    WHERE u.state > 2
) AS x JOIN {s}.bodies AS b ON b.id = x.id
WHERE ($1::uuid IS NULL OR b.id < $1)
  AND ($3::text IS NULL OR b.kind = $3)
  AND ($4::int8 IS NULL OR b.created_at >= $4)
  AND ($5::int8 IS NULL OR b.created_at < $5)
  AND ($6::int4 IS NULL OR b.queue = $6)
ORDER BY b.id DESC LIMIT $2::int8
