-- Opens or pauses a queue, which may be new. Two calls that add it: the second fails on the
-- unique index and is made again.
SET NOCOUNT ON;
SET XACT_ABORT ON;
BEGIN TRANSACTION;
UPDATE q SET paused = @P2 FROM {s}.queues AS q WITH (ROWLOCK) WHERE q.name = @P1;
IF NOT EXISTS (SELECT 1 FROM {s}.queues AS q WHERE q.name = @P1)
    INSERT INTO {s}.queues (name, paused) VALUES (@P1, @P2);
COMMIT TRANSACTION;
