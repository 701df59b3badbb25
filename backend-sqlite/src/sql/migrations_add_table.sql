-- Which migrations were applied, and when. Part of prepare's transaction.
CREATE TABLE anyqueue_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT
