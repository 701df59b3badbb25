-- Removes jobs of one finished state (@P1) that ended at least @P2 microseconds ago,
-- earliest first. Served by the index `ended`; the rest goes by primary keys. A row that is
-- locked is being retried by hand or purged by another call. One transaction.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @until bigint = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME()) - @P2;
DECLARE @gone TABLE (id binary(16) NOT NULL PRIMARY KEY, seq bigint NOT NULL, line int NOT NULL);
BEGIN TRANSACTION;
DELETE q
OUTPUT deleted.id, deleted.seq, deleted.line INTO @gone (id, seq, line)
FROM (
    SELECT TOP (@P3) j.seq, j.counter
    FROM {s}.jobs AS j WITH (UPDLOCK, READPAST, ROWLOCK, READCOMMITTEDLOCK, INDEX(ended))
    WHERE j.state > 2 AND j.state = @P1 AND j.finished_at <= @until
    ORDER BY j.finished_at
) AS p JOIN {s}.jobs AS q WITH (ROWLOCK) ON q.seq = p.seq
WHERE q.state = @P1 AND q.finished_at <= @until AND q.counter = p.counter
OPTION (FORCE ORDER, LOOP JOIN);
DELETE x FROM @gone AS g JOIN {s}.bodies AS x WITH (ROWLOCK) ON x.seq = g.seq OPTION (FORCE ORDER, LOOP JOIN);
DELETE x FROM @gone AS g JOIN {s}.results AS x WITH (ROWLOCK) ON x.seq = g.seq OPTION (FORCE ORDER, LOOP JOIN);
DELETE x FROM @gone AS g JOIN {s}.errors AS x WITH (ROWLOCK) ON x.seq = g.seq OPTION (FORCE ORDER, LOOP JOIN);
DELETE x FROM @gone AS g JOIN {s}.tags AS x WITH (ROWLOCK, FORCESEEK) ON x.id = g.id OPTION (FORCE ORDER, LOOP JOIN);
INSERT INTO {s}.deltas (queue, completed, failed, cancelled)
SELECT g.line / 4, -SUM(CASE WHEN @P1 = 3 THEN 1 ELSE 0 END), -SUM(CASE WHEN @P1 = 4 THEN 1 ELSE 0 END),
       -SUM(CASE WHEN @P1 = 5 THEN 1 ELSE 0 END)
FROM @gone AS g GROUP BY g.line / 4;
COMMIT TRANSACTION;
SELECT g.id FROM @gone AS g;
