-- Notes a migration that was applied in this transaction.
INSERT INTO anyqueue_migrations (version, name, applied_at) VALUES (?1, ?2, ?3)
