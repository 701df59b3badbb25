-- The numbers of queues by name; those that are not known are left out. By the unique index,
-- which is sought for each name: a new queue of an open transaction is waited for only where
-- it is asked for.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @new TABLE (name nvarchar(128) COLLATE Latin1_General_100_BIN2 NOT NULL PRIMARY KEY);
INSERT INTO @new (name) SELECT u.name FROM OPENJSON(@P1) WITH (name nvarchar(128) '$[0]') AS u;
SELECT q.name, q.queue
FROM @new AS n JOIN {s}.queues AS q WITH (READCOMMITTEDLOCK, ROWLOCK, FORCESEEK) ON q.name = n.name
OPTION (FORCE ORDER, LOOP JOIN);
