-- Forgets workers that have not claimed for long and hold nothing. A small table, walked
-- whole; jobs by the index `running`.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DELETE w
FROM {s}.workers AS w WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK)
WHERE w.seen_at < DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME()) - @P1
  AND NOT EXISTS (
      SELECT 1 FROM {s}.jobs AS j WITH (ROWLOCK, INDEX(running))
      WHERE j.state = 2 AND j.worker = w.worker);
