-- The number of a worker, which is remembered from now on. Two calls that add it: the second
-- fails on the unique index and is made again.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @now bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
BEGIN TRANSACTION;
UPDATE w SET seen_at = @now FROM {s}.workers AS w WITH (ROWLOCK) WHERE w.name = @P1;
IF NOT EXISTS (SELECT 1 FROM {s}.workers AS w WHERE w.name = @P1)
    INSERT INTO {s}.workers (name, seen_at) VALUES (@P1, @now);
COMMIT TRANSACTION;
SELECT w.worker FROM {s}.workers AS w WITH (READCOMMITTEDLOCK) WHERE w.name = @P1;
