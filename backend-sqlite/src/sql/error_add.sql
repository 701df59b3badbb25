-- The error of the claim that ends in this transaction.
INSERT INTO anyqueue_errors (seq, counter, attempt, at, message) VALUES (?1, ?2, ?3, ?4, ?5)
