-- Extends the leases of the jobs that their tokens hold. Changes no indexed column, so
-- that it is HOT. Tokens come sorted by id: calls that share jobs lock them in one order.
-- (`+ 0` keeps the planner from walking the index `running` instead.)
UPDATE {s}.live AS j
SET lease_until = (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8) + $3::int8
FROM unnest($1::uuid[], $2::int8[]) AS u (id, counter)
WHERE j.id = u.id AND j.counter = u.counter AND j.state + 0 = 2
RETURNING j.id, j.flagged, j.counter
