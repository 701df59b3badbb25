-- Which chores have anything to do: a look at the index of each, and at most that where a
-- store is at rest. What another call has locked is in its hands. @P1, @P2, @P3: how long
-- completed, failed and cancelled jobs are kept, @P4: how long workers are, in microseconds.
SET NOCOUNT ON;
DECLARE @now bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
SELECT CASE WHEN EXISTS (
           SELECT 1 FROM {s}.jobs AS j WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(running))
           WHERE j.state = 2 AND j.look_at <= @now) THEN 1 ELSE 0 END AS leases,
       CASE WHEN EXISTS (
           SELECT 1 FROM {s}.jobs AS j WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(scheduled))
           WHERE j.state = 0 AND j.due_at <= @now) THEN 1 ELSE 0 END AS scheduled,
       CASE WHEN EXISTS (
           SELECT 1 FROM {s}.jobs AS j WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(ended))
           WHERE j.state > 2 AND j.state = 3 AND j.finished_at <= @now - @P1) THEN 1 ELSE 0 END AS completed,
       CASE WHEN EXISTS (
           SELECT 1 FROM {s}.jobs AS j WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(ended))
           WHERE j.state > 2 AND j.state = 4 AND j.finished_at <= @now - @P2) THEN 1 ELSE 0 END AS failed,
       CASE WHEN EXISTS (
           SELECT 1 FROM {s}.jobs AS j WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(ended))
           WHERE j.state > 2 AND j.state = 5 AND j.finished_at <= @now - @P3) THEN 1 ELSE 0 END AS cancelled,
       CASE WHEN EXISTS (
           SELECT 1 FROM {s}.keys AS k WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK)
           WHERE k.until IS NOT NULL AND k.until <= @now) THEN 1 ELSE 0 END AS keys,
       CASE WHEN EXISTS (
           SELECT 1 FROM {s}.workers AS w WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK)
           WHERE w.seen_at < @now - @P4) THEN 1 ELSE 0 END AS workers,
       CASE WHEN EXISTS (
           SELECT 1 FROM {s}.deltas AS d WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK)) THEN 1 ELSE 0 END AS deltas;
