-- Whether migrations were ever applied here. Runs in prepare's write
-- transaction, which keeps other processes out until all are applied.
SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'anyqueue_migrations'
