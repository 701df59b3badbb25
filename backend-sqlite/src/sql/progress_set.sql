-- A report on a job whose token was checked in this transaction. By seq.
INSERT INTO anyqueue_progress (seq, sequence, percent, step, message) VALUES (?1, 1, ?2, ?3, ?4)
ON CONFLICT (seq) DO UPDATE SET
    sequence = sequence + 1, percent = excluded.percent, step = excluded.step,
    message = excluded.message
