-- What those who wait want to know: the clock and the first lease that may run out; of
-- each line that is open, when its first job is due; of each job, what changes when it
-- looks different. By the indexes `running`, `waiting` and `by_id`. Rows that are locked
-- are being changed: the next look sees them.
SET NOCOUNT ON;
SELECT DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME()) AS now, (
    SELECT TOP (1) j.look_at FROM {s}.jobs AS j WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(running))
    WHERE j.state = 2 ORDER BY j.look_at) AS look_at;
SELECT u.line, (
    SELECT TOP (1) j.due_at FROM {s}.jobs AS j WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(waiting))
    WHERE j.state < 2 AND j.line = u.line ORDER BY j.due_at) AS due_at
FROM OPENJSON(@P1) WITH (line int '$[0]') AS u
JOIN {s}.queues AS q WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, FORCESEEK) ON q.queue = u.line / 4
WHERE q.paused = 0;
SELECT j.id, j.state, j.counter, j.settled_counter, j.sequence, j.flagged
FROM OPENJSON(@P2) WITH (id uniqueidentifier '$[0]') AS u
JOIN {s}.jobs AS j WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, FORCESEEK) ON j.id = CAST(u.id AS binary(16));
