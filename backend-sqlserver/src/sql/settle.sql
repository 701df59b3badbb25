-- Settles jobs that their tokens hold. What becomes of a job depends on its flag: the
-- UPDATE reads and changes its row as one, so that a cancel at the same moment comes
-- before or after. One transaction: all of it or nothing. By the index `by_id`, each job
-- once, sorted by id. The second answer, for tokens that held nothing, tells which of them
-- settled their job last, and how: for a settle that is repeated. A result, error or
-- reason of more than 4,000 UTF-16 units comes in pieces (@P2). What became of a job is read
-- from its row, which this transaction holds: on a server that reads a changed row again to
-- decide about it, as Babelfish does, OUTPUT tells what was decided before.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @now bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
DECLARE @new TABLE (
    id binary(16) NOT NULL PRIMARY KEY, counter bigint NOT NULL, kind tinyint NOT NULL,
    note nvarchar(max) NULL, delay bigint NOT NULL, place int NOT NULL
);
DECLARE @hit TABLE (seq bigint NOT NULL PRIMARY KEY);
DECLARE @done TABLE (
    id binary(16) NOT NULL PRIMARY KEY, seq bigint NOT NULL, line int NOT NULL, state tinyint NOT NULL,
    attempt int NOT NULL, counter bigint NOT NULL, kind tinyint NOT NULL, keyed bit NOT NULL
);
INSERT INTO @new (id, counter, kind, note, delay, place)
SELECT CAST(u.id AS binary(16)), u.counter, u.kind, u.note, u.delay, u.place
FROM OPENJSON(@P1) WITH (
    id uniqueidentifier '$[0]', counter bigint '$[1]', kind tinyint '$[2]', note nvarchar(4000) '$[3]',
    delay bigint '$[4]', place int '$[5]'
) AS u;
IF @P2 <> N'[]'
    UPDATE n
    SET note = l.text
    FROM @new AS n JOIN (
        SELECT u.place, STRING_AGG(CAST(u.text AS nvarchar(max)), N'') WITHIN GROUP (ORDER BY u.nth) AS text
        FROM OPENJSON(@P2) WITH (place int '$[0]', nth int '$[1]', text nvarchar(4000) '$[2]') AS u
        GROUP BY u.place
    ) AS l ON l.place = n.place;
BEGIN TRANSACTION;
UPDATE q
SET was = q.state,
    state = CASE WHEN n.kind = 1 THEN 3 WHEN n.kind = 3 THEN 4 WHEN q.flagged = 1 THEN 5
                 WHEN n.kind = 5 OR n.delay = 0 THEN 1 ELSE 0 END,
    finished_at = CASE WHEN n.kind IN (1, 3) OR q.flagged = 1 THEN @now END,
    attempt = CASE WHEN n.kind IN (4, 5) AND q.attempt > 0 THEN q.attempt - 1 ELSE q.attempt END,
    due_at = CASE WHEN n.kind IN (2, 4) AND q.flagged = 0 THEN @now + n.delay ELSE q.due_at END,
    ord = CASE WHEN n.kind IN (2, 4) AND q.flagged = 0 THEN n.place ELSE q.ord END,
    snooze_reason = CASE WHEN n.kind = 4 AND q.flagged = 0 THEN n.note END,
    settled_counter = q.counter, settled_kind = n.kind,
    lease_until = NULL, look_at = NULL, worker = NULL
OUTPUT inserted.seq INTO @hit (seq)
FROM @new AS n, {s}.jobs AS q WITH (ROWLOCK, FORCESEEK)
WHERE q.id = n.id AND q.counter = n.counter AND q.state = 2
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO @done (id, seq, line, state, attempt, counter, kind, keyed)
SELECT q.id, q.seq, q.line, q.state, q.attempt, q.counter, q.settled_kind, q.keyed
FROM @hit AS h JOIN {s}.jobs AS q ON q.seq = h.seq
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO {s}.results (seq, result)
SELECT d.seq, n.note FROM @done AS d JOIN @new AS n ON n.id = d.id
WHERE d.kind = 1 AND n.note IS NOT NULL;
INSERT INTO {s}.errors (seq, counter, attempt, at, message)
SELECT d.seq, d.counter, d.attempt, @now, n.note FROM @done AS d JOIN @new AS n ON n.id = d.id
WHERE d.kind IN (2, 3);
IF EXISTS (SELECT 1 FROM @done AS d WHERE d.kind IN (2, 3) AND d.counter > 10)
    DELETE e FROM @done AS d JOIN {s}.errors AS e WITH (ROWLOCK, FORCESEEK) ON e.seq = d.seq
    WHERE d.kind IN (2, 3) AND d.counter > 10 AND (
        SELECT COUNT(*) FROM {s}.errors AS o WITH (ROWLOCK, FORCESEEK)
        WHERE o.seq = e.seq AND o.counter > e.counter) >= 10
    OPTION (FORCE ORDER, LOOP JOIN);
DELETE k FROM @done AS d
JOIN {s}.bodies AS b ON b.seq = d.seq
JOIN {s}.keys AS k WITH (ROWLOCK) ON k.queue = d.line / 4 AND k.ukey = b.unique_key
WHERE d.keyed = 1 AND d.state > 2 AND k.id = d.id
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO {s}.deltas (queue, scheduled, ready, running, completed, failed, cancelled)
SELECT d.line / 4, SUM(CASE WHEN d.state = 0 THEN 1 ELSE 0 END),
       SUM(CASE WHEN d.state = 1 THEN 1 ELSE 0 END), -COUNT(*),
       SUM(CASE WHEN d.state = 3 THEN 1 ELSE 0 END), SUM(CASE WHEN d.state = 4 THEN 1 ELSE 0 END),
       SUM(CASE WHEN d.state = 5 THEN 1 ELSE 0 END)
FROM @done AS d GROUP BY d.line / 4;
COMMIT TRANSACTION;
SELECT d.id, d.line, d.state FROM @done AS d;
SELECT n.id, n.counter, j.settled_kind
FROM @new AS n
JOIN {s}.jobs AS j WITH (READCOMMITTEDLOCK, ROWLOCK, FORCESEEK) ON j.id = n.id AND j.settled_counter = n.counter
WHERE NOT EXISTS (SELECT 1 FROM @done AS d WHERE d.id = n.id)
OPTION (FORCE ORDER, LOOP JOIN);
