-- Marks due jobs as ready; a claim takes them either way. Served by the index
-- `scheduled`. Jobs that are locked are being claimed or cancelled. The UPDATE repeats what
-- was found, as in claim.sql. One transaction.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @now bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
DECLARE @done TABLE (id binary(16) NOT NULL PRIMARY KEY, line int NOT NULL);
BEGIN TRANSACTION;
UPDATE q
SET was = q.state, state = 1
OUTPUT inserted.id, inserted.line INTO @done (id, line)
FROM (
    SELECT TOP (@P1) j.seq, j.counter
    FROM {s}.jobs AS j WITH (UPDLOCK, READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(scheduled))
    WHERE j.state = 0 AND j.due_at <= @now
    ORDER BY j.due_at
) AS p JOIN {s}.jobs AS q WITH (ROWLOCK) ON q.seq = p.seq
WHERE q.state = 0 AND q.counter = p.counter AND q.due_at <= @now
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO {s}.deltas (queue, scheduled, ready)
SELECT d.line / 4, -COUNT(*), COUNT(*) FROM @done AS d GROUP BY d.line / 4;
COMMIT TRANSACTION;
SELECT d.id, d.line FROM @done AS d;
