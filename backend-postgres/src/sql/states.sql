-- The states of some jobs, as of now. By primary keys.
SELECT u.id, coalesce(f.state, j.state)
FROM unnest($1::uuid[]) AS u (id)
LEFT JOIN {s}.live AS j ON j.id = u.id
LEFT JOIN {s}.finished AS f ON f.id = u.id
WHERE j.id IS NOT NULL OR f.id IS NOT NULL
