-- Takes the first waiting jobs of some lines, in the order given, line by line. The derived
-- table reads the index `waiting`, which gives exactly the order of claims, and skips rows that
-- another call has locked; it reads `counter` from the row itself, so that a row whose
-- index entry is free but which is locked is skipped too and no two calls wait for each
-- other the wrong way round. The UPDATE repeats state and counter: a server that locks
-- nothing in it fails them for all but one. What was taken is read from the rows, as in
-- settle.sql. One transaction: all that was taken or nothing. Where a lease may have run out
-- it takes nothing and says so (@P5: whether to look). An idle claim is one look at each
-- line, without a transaction. Queues are sought: one that an open transaction adds is not
-- waited for; one that is being paused or opened is, for that one batch.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @now bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
DECLARE @left int = @P2, @n int = 0, @line int, @expired bit = 0;
DECLARE @lines TABLE (n int NOT NULL PRIMARY KEY, line int NOT NULL);
DECLARE @hit TABLE (seq bigint NOT NULL PRIMARY KEY);
DECLARE @taken TABLE (
    seq bigint NOT NULL PRIMARY KEY, id binary(16) NOT NULL, counter bigint NOT NULL,
    attempt int NOT NULL, max_attempts int NOT NULL, line int NOT NULL, due_at bigint NOT NULL,
    ord int NOT NULL, was tinyint NOT NULL
);
IF @P5 = 1 AND EXISTS (
    SELECT 1 FROM {s}.jobs AS j WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(running))
    WHERE j.state = 2 AND j.look_at <= @now)
    SET @expired = 1;
IF @expired = 0
    INSERT INTO @lines (n, line)
    SELECT u.n, u.line
    FROM OPENJSON(@P1) WITH (n int '$[0]', line int '$[1]') AS u
    JOIN {s}.queues AS q WITH (READCOMMITTEDLOCK, ROWLOCK, FORCESEEK) ON q.queue = u.line / 4
    WHERE q.paused = 0 AND EXISTS (
        SELECT 1 FROM {s}.jobs AS j WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(waiting))
        WHERE j.state < 2 AND j.line = u.line AND j.due_at <= @now)
    OPTION (FORCE ORDER, LOOP JOIN);
IF EXISTS (SELECT 1 FROM @lines AS l)
BEGIN
    BEGIN TRANSACTION;
    WHILE @left > 0
    BEGIN
        SET @line = NULL;
        SELECT TOP (1) @n = l.n, @line = l.line FROM @lines AS l WHERE l.n > @n ORDER BY l.n;
        IF @line IS NULL
            BREAK;
        UPDATE q
        SET was = q.state, state = 2, attempt = q.attempt + 1, counter = q.counter + 1,
            worker = @P4, claimed_at = @now, lease_until = @now + @P3, look_at = @now + @P3,
            snooze_reason = NULL, pct = NULL, step = NULL, message = NULL
        OUTPUT inserted.seq INTO @hit (seq)
        FROM (
            SELECT TOP (@left) j.seq, j.counter
            FROM {s}.jobs AS j WITH (UPDLOCK, READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(waiting))
            WHERE j.state < 2 AND j.line = @line AND j.due_at <= @now
            ORDER BY j.due_at, j.ord, j.seq
        ) AS p JOIN {s}.jobs AS q WITH (ROWLOCK) ON q.seq = p.seq
        WHERE q.state < 2 AND q.counter = p.counter
        OPTION (FORCE ORDER, LOOP JOIN);
        SET @left = @left - @@ROWCOUNT;
    END;
    INSERT INTO @taken (seq, id, counter, attempt, max_attempts, line, due_at, ord, was)
    SELECT q.seq, q.id, q.counter, q.attempt, q.max_attempts, q.line, q.due_at, q.ord, q.was
    FROM @hit AS h JOIN {s}.jobs AS q ON q.seq = h.seq
    OPTION (FORCE ORDER, LOOP JOIN);
    INSERT INTO {s}.deltas (queue, scheduled, ready, running)
    SELECT t.line / 4, -SUM(CASE WHEN t.was = 0 THEN 1 ELSE 0 END),
           -SUM(CASE WHEN t.was = 1 THEN 1 ELSE 0 END), COUNT(*)
    FROM @taken AS t GROUP BY t.line / 4;
    COMMIT TRANSACTION;
END;
SELECT @now AS now, @expired AS expired;
SELECT t.id, t.counter, t.attempt, t.max_attempts, t.line, t.due_at, b.created_at, b.kind, b.backoff,
       b.trace, b.tags, b.payload
FROM @taken AS t
JOIN @lines AS l ON l.line = t.line
JOIN {s}.bodies AS b WITH (ROWLOCK, FORCESEEK) ON b.seq = t.seq
ORDER BY l.n, t.due_at, t.ord, t.seq
OPTION (FORCE ORDER, LOOP JOIN);
