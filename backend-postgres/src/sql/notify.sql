-- Tells other processes of changes. A transaction of its own, after the change's: NOTIFY
-- takes a lock of the whole server until its commit, which here does not wait for the
-- disk. No table is touched.
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1::text, $2::text)
