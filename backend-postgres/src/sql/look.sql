-- What raises the floors of claims (floors.rs explains): the clock; the moment before
-- which every job that was to be stored is stored, which is when the eldest transaction
-- that may be changing `live` began (it holds that lock since before it read the clock);
-- the first waiting job of each line and the first row of `held`, from their floors on;
-- when the server began, or its processes did after one of them crashed.
-- A transaction whose beginning may not be seen counts as being there for ever.
SELECT t.now, least(t.now, (
           SELECT min(coalesce((extract(epoch FROM a.xact_start) * 1000000)::int8, 0))
           FROM pg_catalog.pg_locks AS l LEFT JOIN pg_catalog.pg_stat_activity AS a USING (pid)
           WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
             AND l.database = (SELECT oid FROM pg_catalog.pg_database
                               WHERE datname = current_database())
             AND l.relation = $4::text::regclass AND l.pid IS DISTINCT FROM pg_backend_pid()
       )), (
           SELECT look_at FROM {s}.held WHERE look_at >= $3::int8
           ORDER BY look_at LIMIT 1
       ), u.line, (
           SELECT w.due_at FROM {s}.live AS w
           WHERE w.state < 2 AND w.line = u.line AND w.due_at >= u.floor
           ORDER BY w.line, w.due_at LIMIT 1
       ), (extract(epoch FROM greatest(pg_postmaster_start_time(), (
           SELECT max(a.backend_start) FROM pg_catalog.pg_stat_activity AS a
           WHERE a.backend_type = 'checkpointer'
       ))) * 1000000)::int8
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8 AS now) AS t
LEFT JOIN unnest($1::int4[], $2::int8[]) AS u (line, floor) ON true
