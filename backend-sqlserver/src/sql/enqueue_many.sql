-- Stores the jobs that were loaded into #anyqueue_new (load.sql): enqueue.sql for many. Between
-- BEGIN TRANSACTION and the INSERT into `jobs` the two are one text, which a test compares: what
-- is said there of atomicity, keys and indexes holds here. @P1 names this call (`taken`). The
-- rows were loaded before: locks are held for this one round trip. The table goes with the
-- answer; where this fails, its connection is closed, and the table with it.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @now bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
DECLARE @made TABLE (id binary(16) NOT NULL PRIMARY KEY, seq bigint NOT NULL);
DECLARE @held TABLE (id binary(16) NOT NULL PRIMARY KEY, holder binary(16) NOT NULL, mine bit NOT NULL);
UPDATE n
SET due_at = CASE WHEN n.at IS NULL THEN @now + n.delay WHEN n.at > @now THEN n.at ELSE @now END,
    until = @now + n.period, unique_key = n.given_key
FROM #anyqueue_new AS n;
BEGIN TRANSACTION;
DELETE n FROM #anyqueue_new AS n
WHERE EXISTS (SELECT 1 FROM {s}.jobs AS j WITH (READCOMMITTEDLOCK, ROWLOCK, FORCESEEK) WHERE j.id = n.id)
OPTION (LOOP JOIN);
IF EXISTS (SELECT 1 FROM #anyqueue_new AS n WHERE n.unique_key IS NOT NULL)
BEGIN
    DELETE k FROM #anyqueue_new AS n
    JOIN {s}.keys AS k WITH (ROWLOCK) ON k.queue = n.line / 4 AND k.ukey = n.unique_key
    WHERE k.until <= @now
    OPTION (FORCE ORDER, LOOP JOIN);
    INSERT INTO {s}.keys (queue, ukey, id, until, taken)
    SELECT w.queue, w.unique_key, w.id, w.until, @P1
    FROM (
        SELECT n.line / 4 AS queue, n.unique_key, n.id, n.until,
               ROW_NUMBER() OVER (PARTITION BY n.line / 4, n.unique_key ORDER BY n.place) AS nth
        FROM #anyqueue_new AS n WHERE n.unique_key IS NOT NULL
    ) AS w
    WHERE w.nth = 1 AND NOT EXISTS (
        SELECT 1 FROM {s}.keys AS k WITH (UPDLOCK, HOLDLOCK, ROWLOCK, FORCESEEK)
        WHERE k.queue = w.queue AND k.ukey = w.unique_key)
    ORDER BY w.queue, w.unique_key
    OPTION (LOOP JOIN);
    INSERT INTO @held (id, holder, mine)
    SELECT n.id, k.id, CASE WHEN k.id = n.id AND k.taken = @P1 THEN 1 ELSE 0 END
    FROM #anyqueue_new AS n
    JOIN {s}.keys AS k WITH (READCOMMITTEDLOCK, ROWLOCK) ON k.queue = n.line / 4 AND k.ukey = n.unique_key
    OPTION (FORCE ORDER, LOOP JOIN);
    DELETE n FROM #anyqueue_new AS n WHERE EXISTS (SELECT 1 FROM @held AS h WHERE h.id = n.id AND h.mine = 0);
END;
INSERT INTO {s}.jobs (id, line, due_at, state, keyed, max_attempts)
OUTPUT inserted.id, inserted.seq INTO @made (id, seq)
SELECT n.id, n.line, n.due_at, CASE WHEN n.due_at > @now THEN 0 ELSE 1 END, n.keyed, n.max_attempts
FROM #anyqueue_new AS n ORDER BY n.place;
INSERT INTO {s}.bodies (seq, created_at, kind, unique_key, trace, backoff, unique_policy, tags, payload)
SELECT m.seq, @now, n.kind, n.unique_key, n.trace, n.backoff, n.unique_policy, n.tags, n.payload
FROM #anyqueue_new AS n JOIN @made AS m ON m.id = n.id
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO {s}.tags (tag, id)
SELECT DISTINCT l.tag COLLATE Latin1_General_100_BIN2, n.id
FROM #anyqueue_new AS n CROSS APPLY OPENJSON(n.tags) WITH (tag nvarchar(64) '$') AS l;
INSERT INTO {s}.deltas (queue, scheduled, ready)
SELECT n.line / 4, SUM(CASE WHEN n.due_at > @now THEN 1 ELSE 0 END),
       SUM(CASE WHEN n.due_at > @now THEN 0 ELSE 1 END)
FROM #anyqueue_new AS n GROUP BY n.line / 4;
COMMIT TRANSACTION;
DROP TABLE #anyqueue_new;
SELECT h.id, h.holder FROM @held AS h WHERE h.holder <> h.id;
