-- One label of a new job; a label given twice counts once.
INSERT INTO anyqueue_tags (tag, id) VALUES (?1, ?2) ON CONFLICT DO NOTHING
