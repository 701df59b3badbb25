-- Opens or pauses a queue, which may be new. Two calls that add it: the second fails on the
-- unique index and is made again. Sought by that index, so that other queues which open
-- transactions add are not waited for.
SET NOCOUNT ON;
SET XACT_ABORT ON;
BEGIN TRANSACTION;
UPDATE q SET paused = @P2 FROM {s}.queues AS q WITH (ROWLOCK, FORCESEEK) WHERE q.name = @P1;
IF NOT EXISTS (SELECT 1 FROM {s}.queues AS q WITH (READCOMMITTEDLOCK, ROWLOCK, FORCESEEK) WHERE q.name = @P1)
    INSERT INTO {s}.queues (name, paused) VALUES (@P1, @P2);
COMMIT TRANSACTION;
