-- A page of the jobs with label ?8 (and those in the JSON list ?9), highest id
-- first: walks the primary key of the labels from the cursor ?1.
SELECT b.id FROM anyqueue_tags AS t
CROSS JOIN anyqueue_bodies AS b ON b.id = t.id
CROSS JOIN anyqueue_jobs AS j ON j.seq = b.seq
WHERE t.tag = ?8 AND t.id < ?1
  AND (?3 IS NULL OR b.kind = ?3)
  AND (?4 IS NULL OR b.created_at >= ?4)
  AND (?5 IS NULL OR b.created_at < ?5)
  AND (?6 IS NULL OR j.queue = ?6)
  AND (?7 & (1 << j.state)) != 0
  AND NOT EXISTS (
    SELECT 1 FROM json_each(?9) AS also
    WHERE NOT EXISTS (SELECT 1 FROM anyqueue_tags WHERE tag = also.value AND id = t.id)
  )
ORDER BY t.id DESC
LIMIT ?2
