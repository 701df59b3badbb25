-- Adds queues. Two calls that add one wait for each other by the lock on its place in the
-- unique index: the second finds it. Where nothing locks, the second fails on that index,
-- is made again and finds it. The index is sought for each name: what is read whole would be
-- locked whole.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @new TABLE (name nvarchar(128) COLLATE Latin1_General_100_BIN2 NOT NULL PRIMARY KEY);
INSERT INTO @new (name) SELECT u.name FROM OPENJSON(@P1) WITH (name nvarchar(128) '$[0]') AS u;
INSERT INTO {s}.queues (name)
SELECT n.name FROM @new AS n
WHERE NOT EXISTS (
    SELECT 1 FROM {s}.queues AS q WITH (UPDLOCK, HOLDLOCK, ROWLOCK, FORCESEEK) WHERE q.name = n.name)
ORDER BY n.name
OPTION (LOOP JOIN);
