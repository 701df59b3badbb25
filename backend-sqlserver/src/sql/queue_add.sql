-- Adds queues. One that another call adds at the same moment fails on the unique index: the
-- call is made again and finds it.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @new TABLE (name nvarchar(128) COLLATE Latin1_General_100_BIN2 NOT NULL PRIMARY KEY);
INSERT INTO @new (name) SELECT u.name FROM OPENJSON(@P1) WITH (name nvarchar(128) '$[0]') AS u;
INSERT INTO {s}.queues (name)
SELECT n.name FROM @new AS n
WHERE NOT EXISTS (SELECT 1 FROM {s}.queues AS q WITH (READCOMMITTEDLOCK) WHERE q.name = n.name)
ORDER BY n.name;
