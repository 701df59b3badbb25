-- Ends leases that have run out: the flagged end `cancelled`, those without an attempt
-- left `failed`, the others wait again in their place. Jobs that are locked are being
-- settled, extended or ended by another call, and are left to it. Served by the index
-- `running`, whose `look_at` a heartbeat does not touch: where the lease was extended, it
-- is brought up to the lease's end here, once a lease. The UPDATE repeats what was
-- found, as in claim.sql; what became of a job is read from its row, as in settle.sql. One
-- transaction.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @now bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
DECLARE @seen TABLE (
    id binary(16) NOT NULL PRIMARY KEY, seq bigint NOT NULL, line int NOT NULL, state tinyint NOT NULL,
    attempt int NOT NULL, counter bigint NOT NULL, keyed bit NOT NULL
);
DECLARE @hit TABLE (seq bigint NOT NULL PRIMARY KEY);
BEGIN TRANSACTION;
UPDATE q
SET was = q.state,
    state = CASE WHEN q.lease_until > @now THEN 2 WHEN q.flagged = 1 THEN 5
                 WHEN q.attempt >= q.max_attempts THEN 4 ELSE 1 END,
    finished_at = CASE WHEN q.lease_until <= @now AND (q.flagged = 1 OR q.attempt >= q.max_attempts)
                       THEN @now END,
    look_at = CASE WHEN q.lease_until > @now THEN q.lease_until END,
    worker = CASE WHEN q.lease_until > @now THEN q.worker END,
    lease_until = CASE WHEN q.lease_until > @now THEN q.lease_until END
OUTPUT inserted.seq INTO @hit (seq)
FROM (
    SELECT TOP (@P1) j.seq, j.counter
    FROM {s}.jobs AS j WITH (UPDLOCK, READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(running))
    WHERE j.state = 2 AND j.look_at <= @now
    ORDER BY j.look_at
) AS p JOIN {s}.jobs AS q WITH (ROWLOCK) ON q.seq = p.seq
WHERE q.state = 2 AND q.counter = p.counter AND q.look_at <= @now
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO @seen (id, seq, line, state, attempt, counter, keyed)
SELECT q.id, q.seq, q.line, q.state, q.attempt, q.counter, q.keyed
FROM @hit AS h JOIN {s}.jobs AS q ON q.seq = h.seq
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO {s}.errors (seq, counter, attempt, at, message)
SELECT e.seq, e.counter, e.attempt, @now, @P2 FROM @seen AS e WHERE e.state <> 2;
IF EXISTS (SELECT 1 FROM @seen AS d WHERE d.state <> 2 AND d.counter > 10)
    DELETE e FROM @seen AS d JOIN {s}.errors AS e WITH (ROWLOCK, FORCESEEK) ON e.seq = d.seq
    WHERE d.state <> 2 AND d.counter > 10 AND (
        SELECT COUNT(*) FROM {s}.errors AS o WITH (ROWLOCK, FORCESEEK)
        WHERE o.seq = e.seq AND o.counter > e.counter) >= 10
    OPTION (FORCE ORDER, LOOP JOIN);
DELETE k FROM @seen AS d
JOIN {s}.bodies AS b ON b.seq = d.seq
JOIN {s}.keys AS k WITH (ROWLOCK) ON k.queue = d.line / 4 AND k.ukey = b.unique_key
WHERE d.keyed = 1 AND d.state > 2 AND k.id = d.id
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO {s}.deltas (queue, ready, running, failed, cancelled)
SELECT d.line / 4, SUM(CASE WHEN d.state = 1 THEN 1 ELSE 0 END), -COUNT(*),
       SUM(CASE WHEN d.state = 4 THEN 1 ELSE 0 END), SUM(CASE WHEN d.state = 5 THEN 1 ELSE 0 END)
FROM @seen AS d WHERE d.state <> 2 GROUP BY d.line / 4;
COMMIT TRANSACTION;
SELECT d.id, d.line, d.state FROM @seen AS d;
