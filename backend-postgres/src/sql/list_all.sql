-- A page of all jobs, highest id first: walks the primary key of `bodies` from the
-- cursor $1 and drops what does not match. Used where most jobs match.
SELECT b.id FROM {s}.bodies AS b
LEFT JOIN {s}.live AS j ON j.id = b.id
LEFT JOIN {s}.finished AS f ON f.id = b.id
WHERE ($1::uuid IS NULL OR b.id < $1)
  AND ($3::text IS NULL OR b.kind = $3)
  AND ($4::int8 IS NULL OR b.created_at >= $4)
  AND ($5::int8 IS NULL OR b.created_at < $5)
  AND ($6::int4 IS NULL OR b.queue = $6)
  AND coalesce(j.state, f.state) = ANY ($7::int2[])
ORDER BY b.id DESC LIMIT $2::int8
