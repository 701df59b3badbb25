-- Whether the store knows an id. Served by the unique index on id.
SELECT seq FROM anyqueue_bodies WHERE id = ?1
