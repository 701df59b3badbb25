-- Runs failed and cancelled jobs again. A key held while unfinished is taken again, as in
-- enqueue.sql, unless another job holds it. One transaction; jobs are locked first, by the
-- index `by_id`, each once, sorted by id. Of several with one key the first in the call
-- counts. The first answer names the jobs that ended and who holds their key (themselves:
-- they run again); the second the states of all known ones as they are afterwards.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @now bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
DECLARE @new TABLE (id binary(16) NOT NULL PRIMARY KEY, place int NOT NULL);
DECLARE @job TABLE (
    id binary(16) NOT NULL PRIMARY KEY, seq bigint NOT NULL, place int NOT NULL, line int NOT NULL,
    keyed bit NOT NULL, unique_key nvarchar(256) COLLATE Latin1_General_100_BIN2 NULL,
    holder binary(16) NOT NULL
);
DECLARE @done TABLE (id binary(16) NOT NULL PRIMARY KEY, line int NOT NULL, was tinyint NOT NULL);
DECLARE @hit TABLE (seq bigint NOT NULL PRIMARY KEY);
INSERT INTO @new (id, place)
SELECT CAST(u.id AS binary(16)), u.place
FROM OPENJSON(@P1) WITH (id uniqueidentifier '$[0]', place int '$[1]') AS u;
BEGIN TRANSACTION;
INSERT INTO @job (id, seq, place, line, keyed, unique_key, holder)
SELECT n.id, j.seq, n.place, j.line, j.keyed, b.unique_key, n.id
FROM @new AS n
JOIN {s}.jobs AS j WITH (UPDLOCK, ROWLOCK, READCOMMITTEDLOCK, FORCESEEK) ON j.id = n.id
JOIN {s}.bodies AS b ON b.seq = j.seq
WHERE j.state IN (4, 5)
OPTION (FORCE ORDER, LOOP JOIN);
IF EXISTS (SELECT 1 FROM @job AS w WHERE w.keyed = 1)
BEGIN
    DELETE k FROM @job AS w
    JOIN {s}.keys AS k WITH (ROWLOCK) ON k.queue = w.line / 4 AND k.ukey = w.unique_key
    WHERE w.keyed = 1 AND k.until <= @now
    OPTION (FORCE ORDER, LOOP JOIN);
    INSERT INTO {s}.keys (queue, ukey, id, until, taken)
    SELECT f.queue, f.unique_key, f.id, NULL, @P2
    FROM (
        SELECT w.line / 4 AS queue, w.unique_key, w.id,
               ROW_NUMBER() OVER (PARTITION BY w.line / 4, w.unique_key ORDER BY w.place) AS nth
        FROM @job AS w WHERE w.keyed = 1
    ) AS f
    WHERE f.nth = 1 AND NOT EXISTS (
        SELECT 1 FROM {s}.keys AS k WITH (UPDLOCK, HOLDLOCK, ROWLOCK, FORCESEEK)
        WHERE k.queue = f.queue AND k.ukey = f.unique_key)
    ORDER BY f.queue, f.unique_key
    OPTION (LOOP JOIN);
    UPDATE w
    SET holder = k.id
    FROM @job AS w
    JOIN {s}.keys AS k WITH (READCOMMITTEDLOCK, ROWLOCK) ON k.queue = w.line / 4 AND k.ukey = w.unique_key
    WHERE w.keyed = 1
    OPTION (FORCE ORDER, LOOP JOIN);
END;
UPDATE q
SET was = q.state, state = 1, attempt = 0, flagged = 0, due_at = @now, ord = w.place, finished_at = NULL,
    pct = NULL, step = NULL, message = NULL
OUTPUT inserted.seq INTO @hit (seq)
FROM @job AS w, {s}.jobs AS q WITH (ROWLOCK)
WHERE q.seq = w.seq AND w.holder = w.id AND q.state IN (4, 5)
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO @done (id, line, was)
SELECT q.id, q.line, q.was FROM @hit AS h JOIN {s}.jobs AS q ON q.seq = h.seq
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO {s}.deltas (queue, ready, failed, cancelled)
SELECT d.line / 4, COUNT(*), -SUM(CASE WHEN d.was = 4 THEN 1 ELSE 0 END),
       -SUM(CASE WHEN d.was = 5 THEN 1 ELSE 0 END)
FROM @done AS d GROUP BY d.line / 4;
COMMIT TRANSACTION;
SELECT w.id, w.holder, w.line FROM @job AS w
WHERE w.holder <> w.id OR EXISTS (SELECT 1 FROM @done AS d WHERE d.id = w.id);
SELECT n.id, j.state FROM @new AS n
JOIN {s}.jobs AS j WITH (READCOMMITTEDLOCK, ROWLOCK, FORCESEEK) ON j.id = n.id
OPTION (FORCE ORDER, LOOP JOIN);
