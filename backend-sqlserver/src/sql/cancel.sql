-- Ends waiting jobs as cancelled and flags running ones: one UPDATE decides by the row as
-- it is then, so that a claim at the same moment comes before or after. One transaction.
-- By the index `by_id`, each job once, sorted by id. The answer tells for each known job
-- whether it was touched, and the state that it had, which is read from its row as in
-- settle.sql.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @now bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
DECLARE @new TABLE (id binary(16) NOT NULL PRIMARY KEY);
DECLARE @done TABLE (
    id binary(16) NOT NULL PRIMARY KEY, seq bigint NOT NULL, line int NOT NULL, was tinyint NOT NULL,
    keyed bit NOT NULL
);
DECLARE @hit TABLE (seq bigint NOT NULL PRIMARY KEY);
INSERT INTO @new (id)
SELECT CAST(u.id AS binary(16)) FROM OPENJSON(@P1) WITH (id uniqueidentifier '$[0]') AS u;
BEGIN TRANSACTION;
UPDATE q
SET was = q.state,
    state = CASE WHEN q.state = 2 THEN 2 ELSE 5 END,
    flagged = CASE WHEN q.state = 2 THEN 1 ELSE q.flagged END,
    finished_at = CASE WHEN q.state = 2 THEN NULL ELSE @now END
OUTPUT inserted.seq INTO @hit (seq)
FROM @new AS n, {s}.jobs AS q WITH (ROWLOCK, FORCESEEK)
WHERE q.id = n.id AND q.state <= 2
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO @done (id, seq, line, was, keyed)
SELECT q.id, q.seq, q.line, q.was, q.keyed
FROM @hit AS h JOIN {s}.jobs AS q ON q.seq = h.seq
OPTION (FORCE ORDER, LOOP JOIN);
DELETE k FROM @done AS d
JOIN {s}.bodies AS b ON b.seq = d.seq
JOIN {s}.keys AS k WITH (ROWLOCK) ON k.queue = d.line / 4 AND k.ukey = b.unique_key
WHERE d.keyed = 1 AND d.was < 2 AND k.id = d.id
OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO {s}.deltas (queue, scheduled, ready, cancelled)
SELECT d.line / 4, -SUM(CASE WHEN d.was = 0 THEN 1 ELSE 0 END),
       -SUM(CASE WHEN d.was = 1 THEN 1 ELSE 0 END), COUNT(*)
FROM @done AS d WHERE d.was < 2 GROUP BY d.line / 4;
COMMIT TRANSACTION;
SELECT n.id, CASE WHEN d.id IS NULL THEN 0 ELSE 1 END AS touched, COALESCE(d.was, j.state) AS state
FROM @new AS n
LEFT JOIN @done AS d ON d.id = n.id
LEFT JOIN {s}.jobs AS j WITH (READCOMMITTEDLOCK, ROWLOCK, FORCESEEK) ON j.id = n.id
WHERE d.id IS NOT NULL OR j.id IS NOT NULL;
