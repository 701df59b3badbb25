-- Which of these tokens settled their job last, and how: for a settle that is repeated.
-- By primary keys. Run after the settle, so that it sees what that waited for.
SELECT u.id, u.counter, coalesce(f.settled_kind, j.settled_kind)
FROM unnest($1::uuid[], $2::int8[]) AS u (id, counter)
LEFT JOIN {s}.finished AS f ON f.id = u.id AND f.settled_counter = u.counter
LEFT JOIN {s}.live AS j ON j.id = u.id AND j.settled_counter = u.counter
WHERE f.id IS NOT NULL OR j.id IS NOT NULL
