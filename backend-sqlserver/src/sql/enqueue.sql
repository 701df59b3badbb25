-- Stores those new jobs whose id is not known and whose unique key is free, and answers
-- for each who holds its key. A call names each id once; of several jobs with one key the
-- first in the call counts. One transaction: all or nothing. Two calls that store one id
-- or take one key wait for each other: the second sees the first one's rows, or fails on
-- the unique index as a whole and is made again. `taken` (@P3) names this call: a key that
-- names this job but was taken by another call has outlived the job, which is not stored
-- again. Rows come sorted by place, which gives `seq` the order of enqueues. Payloads
-- of more than 4,000 UTF-16 units come in pieces (@P4). Served by the index `by_id` and the
-- primary key of `keys`, which are sought for each row (FORCESEEK, LOOP JOIN): a plan that
-- read them whole would wait for what others have locked, and lock what others need.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @now bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
DECLARE @new TABLE (
    place int NOT NULL PRIMARY KEY, id binary(16) NOT NULL, line int NOT NULL,
    max_attempts int NOT NULL, keyed bit NOT NULL, due_at bigint NOT NULL, until bigint NULL,
    kind nvarchar(128) NOT NULL, backoff nvarchar(max) NULL,
    unique_key nvarchar(256) COLLATE Latin1_General_100_BIN2 NULL,
    unique_policy nvarchar(max) NULL, trace nvarchar(256) NULL, tags nvarchar(max) NULL,
    payload nvarchar(4000) NULL
);
DECLARE @long TABLE (place int NOT NULL PRIMARY KEY, text nvarchar(max) NOT NULL);
DECLARE @made TABLE (id binary(16) NOT NULL PRIMARY KEY, seq bigint NOT NULL);
DECLARE @held TABLE (id binary(16) NOT NULL PRIMARY KEY, holder binary(16) NOT NULL, mine bit NOT NULL);
INSERT INTO @new (place, id, line, max_attempts, keyed, due_at, until, kind, backoff, unique_key,
                  unique_policy, trace, tags, payload)
SELECT u.place, CAST(u.id AS binary(16)), u.line, u.max_attempts, u.keyed,
       CASE WHEN u.at IS NULL THEN @now + u.delay WHEN u.at > @now THEN u.at ELSE @now END,
       @now + u.period, u.kind, u.backoff, u.unique_key, u.unique_policy, u.trace, u.tags, u.payload
FROM OPENJSON(@P1) WITH (
    place int '$[0]', id uniqueidentifier '$[1]', line int '$[2]', max_attempts int '$[3]',
    keyed bit '$[4]', delay bigint '$[5]', at bigint '$[6]', period bigint '$[7]',
    kind nvarchar(128) '$[8]', backoff nvarchar(max) '$[9]', unique_key nvarchar(256) '$[10]',
    unique_policy nvarchar(max) '$[11]', trace nvarchar(256) '$[12]', tags nvarchar(max) '$[13]',
    payload nvarchar(4000) '$[14]'
) AS u;
INSERT INTO @long (place, text)
SELECT u.place, STRING_AGG(CAST(u.text AS nvarchar(max)), N'') WITHIN GROUP (ORDER BY u.nth)
FROM OPENJSON(@P4) WITH (place int '$[0]', nth int '$[1]', text nvarchar(4000) '$[2]') AS u
GROUP BY u.place;
BEGIN TRANSACTION;
DELETE n FROM @new AS n
WHERE EXISTS (SELECT 1 FROM {s}.jobs AS j WITH (READCOMMITTEDLOCK, ROWLOCK, FORCESEEK) WHERE j.id = n.id)
OPTION (LOOP JOIN);
IF EXISTS (SELECT 1 FROM @new AS n WHERE n.unique_key IS NOT NULL)
BEGIN
    DELETE k FROM @new AS n
    JOIN {s}.keys AS k WITH (ROWLOCK) ON k.queue = n.line / 4 AND k.ukey = n.unique_key
    WHERE k.until <= @now
    OPTION (FORCE ORDER, LOOP JOIN);
    INSERT INTO {s}.keys (queue, ukey, id, until, taken)
    SELECT w.queue, w.unique_key, w.id, w.until, @P3
    FROM (
        SELECT n.line / 4 AS queue, n.unique_key, n.id, n.until,
               ROW_NUMBER() OVER (PARTITION BY n.line / 4, n.unique_key ORDER BY n.place) AS nth
        FROM @new AS n WHERE n.unique_key IS NOT NULL
    ) AS w
    WHERE w.nth = 1 AND NOT EXISTS (
        SELECT 1 FROM {s}.keys AS k WITH (UPDLOCK, HOLDLOCK, ROWLOCK, FORCESEEK)
        WHERE k.queue = w.queue AND k.ukey = w.unique_key)
    ORDER BY w.queue, w.unique_key
    OPTION (LOOP JOIN);
    INSERT INTO @held (id, holder, mine)
    SELECT n.id, k.id, CASE WHEN k.id = n.id AND k.taken = @P3 THEN 1 ELSE 0 END
    FROM @new AS n
    JOIN {s}.keys AS k WITH (READCOMMITTEDLOCK, ROWLOCK) ON k.queue = n.line / 4 AND k.ukey = n.unique_key
    OPTION (FORCE ORDER, LOOP JOIN);
    DELETE n FROM @new AS n WHERE EXISTS (SELECT 1 FROM @held AS h WHERE h.id = n.id AND h.mine = 0);
END;
INSERT INTO {s}.jobs (id, line, due_at, state, keyed, max_attempts)
OUTPUT inserted.id, inserted.seq INTO @made (id, seq)
SELECT n.id, n.line, n.due_at, CASE WHEN n.due_at > @now THEN 0 ELSE 1 END, n.keyed, n.max_attempts
FROM @new AS n ORDER BY n.place;
INSERT INTO {s}.bodies (seq, created_at, kind, unique_key, trace, backoff, unique_policy, tags, payload)
SELECT m.seq, @now, n.kind, n.unique_key, n.trace, n.backoff, n.unique_policy, n.tags,
       COALESCE(n.payload, l.text)
FROM @new AS n JOIN @made AS m ON m.id = n.id LEFT JOIN @long AS l ON l.place = n.place
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO {s}.tags (tag, id)
SELECT DISTINCT l.tag COLLATE Latin1_General_100_BIN2, n.id
FROM OPENJSON(@P2) WITH (place int '$[0]', tag nvarchar(64) '$[1]') AS l
JOIN @new AS n ON n.place = l.place;
INSERT INTO {s}.deltas (queue, scheduled, ready)
SELECT n.line / 4, SUM(CASE WHEN n.due_at > @now THEN 1 ELSE 0 END),
       SUM(CASE WHEN n.due_at > @now THEN 0 ELSE 1 END)
FROM @new AS n GROUP BY n.line / 4;
COMMIT TRANSACTION;
SELECT h.id, h.holder FROM @held AS h WHERE h.holder <> h.id;
