-- A new job's fixed part; changes nothing where the id is known, so that an
-- enqueue can be repeated. The unique index on id decides.
INSERT INTO anyqueue_bodies
    (seq, id, created_at, kind, backoff, unique_key, unique_policy, trace, tags, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (id) DO NOTHING
