-- From when on a claim on these lines finds something: the first waiting job of each
-- (from its floor, or put back), and the first lease that may run out.
SELECT (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8), min(least((
           SELECT w.due_at FROM {s}.live AS w
           WHERE w.state < 2 AND w.line = u.line AND w.due_at >= u.floor
           ORDER BY w.line, w.due_at LIMIT 1
       ), (
           SELECT b.due_at FROM {s}.live AS b WHERE b.back AND b.line = u.line
           ORDER BY b.due_at LIMIT 1
       ))), (
           SELECT look_at FROM {s}.held WHERE look_at >= $3::int8
           ORDER BY look_at LIMIT 1
       )
FROM unnest($1::int4[], $2::int8[]) AS u (line, floor)
WHERE (SELECT NOT paused FROM {s}.queues AS q WHERE q.queue = u.line >> 2)
