-- All queues with their jobs by state: totals, and what was appended since. One row a
-- queue, and the deltas that were not folded yet; no job is read. The application lock (@P1)
-- is shared with other readers and keeps a fold out for the moment. Deltas that are not
-- committed yet are passed by: nobody waits for a reader, and a reader for nobody.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @locked int;
DECLARE @counts TABLE (
    queue int NOT NULL, scheduled bigint NOT NULL, ready bigint NOT NULL, running bigint NOT NULL,
    completed bigint NOT NULL, failed bigint NOT NULL, cancelled bigint NOT NULL
);
BEGIN TRANSACTION;
EXEC @locked = sp_getapplock @Resource = @P1, @LockMode = 'Shared', @LockOwner = 'Transaction', @LockTimeout = 10000;
INSERT INTO @counts (queue, scheduled, ready, running, completed, failed, cancelled)
SELECT t.queue, t.scheduled, t.ready, t.running, t.completed, t.failed, t.cancelled
FROM {s}.totals AS t WITH (READCOMMITTEDLOCK)
UNION ALL
SELECT d.queue, SUM(CAST(d.scheduled AS bigint)), SUM(CAST(d.ready AS bigint)),
       SUM(CAST(d.running AS bigint)), SUM(CAST(d.completed AS bigint)), SUM(CAST(d.failed AS bigint)),
       SUM(CAST(d.cancelled AS bigint))
FROM {s}.deltas AS d WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK) GROUP BY d.queue;
COMMIT TRANSACTION;
SELECT @locked AS locked;
SELECT q.queue, q.name, q.paused,
       CAST(COALESCE(SUM(c.scheduled), 0) AS bigint) AS scheduled, CAST(COALESCE(SUM(c.ready), 0) AS bigint) AS ready,
       CAST(COALESCE(SUM(c.running), 0) AS bigint) AS running, CAST(COALESCE(SUM(c.completed), 0) AS bigint) AS completed,
       CAST(COALESCE(SUM(c.failed), 0) AS bigint) AS failed, CAST(COALESCE(SUM(c.cancelled), 0) AS bigint) AS cancelled
FROM {s}.queues AS q LEFT JOIN @counts AS c ON c.queue = q.queue
GROUP BY q.queue, q.name, q.paused;
