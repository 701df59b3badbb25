-- Folds counts: what was appended to `deltas` goes into `totals`. One transaction under
-- an application lock (@P1) that readers of the counts share: every reader sees each change
-- in one of the two, and only one call at a time folds; others find it taken and leave.
-- Deltas that are not committed yet are left to the next fold. By primary keys.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @locked int;
DECLARE @gone TABLE (
    queue int NOT NULL, scheduled int NOT NULL, ready int NOT NULL, running int NOT NULL,
    completed int NOT NULL, failed int NOT NULL, cancelled int NOT NULL
);
DECLARE @sums TABLE (
    queue int NOT NULL PRIMARY KEY, scheduled bigint NOT NULL, ready bigint NOT NULL, running bigint NOT NULL,
    completed bigint NOT NULL, failed bigint NOT NULL, cancelled bigint NOT NULL
);
BEGIN TRANSACTION;
EXEC @locked = sp_getapplock @Resource = @P1, @LockMode = 'Exclusive', @LockOwner = 'Transaction', @LockTimeout = 0;
IF @locked >= 0
BEGIN
    DELETE TOP (@P2) d
    OUTPUT deleted.queue, deleted.scheduled, deleted.ready, deleted.running, deleted.completed,
           deleted.failed, deleted.cancelled
    INTO @gone (queue, scheduled, ready, running, completed, failed, cancelled)
    FROM {s}.deltas AS d WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK);
    INSERT INTO @sums (queue, scheduled, ready, running, completed, failed, cancelled)
    SELECT g.queue, SUM(g.scheduled), SUM(g.ready), SUM(g.running), SUM(g.completed), SUM(g.failed),
           SUM(g.cancelled)
    FROM @gone AS g GROUP BY g.queue;
    UPDATE t
    SET scheduled = t.scheduled + g.scheduled, ready = t.ready + g.ready, running = t.running + g.running,
        completed = t.completed + g.completed, failed = t.failed + g.failed,
        cancelled = t.cancelled + g.cancelled
    FROM @sums AS g JOIN {s}.totals AS t WITH (ROWLOCK) ON t.queue = g.queue;
    INSERT INTO {s}.totals (queue, scheduled, ready, running, completed, failed, cancelled)
    SELECT g.queue, g.scheduled, g.ready, g.running, g.completed, g.failed, g.cancelled
    FROM @sums AS g
    WHERE NOT EXISTS (SELECT 1 FROM {s}.totals AS t WHERE t.queue = g.queue);
END;
COMMIT TRANSACTION;
