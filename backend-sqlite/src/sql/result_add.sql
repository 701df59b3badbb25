-- What a job returned that completed in this transaction. By seq.
INSERT INTO anyqueue_results (seq, result) VALUES (?1, ?2)
