-- A page of the jobs with label $8 (and all of $9), highest id first: walks the primary
-- key of `tags` from the cursor $1.
SELECT b.id FROM {s}.tags AS g
JOIN {s}.bodies AS b ON b.id = g.id
LEFT JOIN {s}.live AS j ON j.id = b.id
LEFT JOIN {s}.finished AS f ON f.id = b.id
WHERE g.tag = $8::text AND ($1::uuid IS NULL OR g.id < $1)
  AND ($3::text IS NULL OR b.kind = $3)
  AND ($4::int8 IS NULL OR b.created_at >= $4)
  AND ($5::int8 IS NULL OR b.created_at < $5)
  AND ($6::int4 IS NULL OR b.queue = $6)
  AND coalesce(j.state, f.state) = ANY ($7::int2[])
  AND NOT EXISTS (
      SELECT FROM unnest($9::text[]) AS also (tag)
      WHERE NOT EXISTS (SELECT FROM {s}.tags AS x WHERE x.tag = also.tag AND x.id = g.id))
ORDER BY g.id DESC LIMIT $2::int8
