-- The version of the tables; 0 before the first migration. Primary key.
SELECT coalesce(max(version), 0) FROM anyqueue_migrations
