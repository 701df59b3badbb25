-- Stores reports on the jobs that their tokens hold. One statement, by the index
-- `by_id`; changes no column of an index. Each job once, sorted by id.
SET NOCOUNT ON;
SET XACT_ABORT ON;
UPDATE q
SET sequence = q.sequence + 1, pct = u.pct, step = u.step, message = u.message
OUTPUT inserted.id, inserted.counter, inserted.flagged
FROM OPENJSON(@P1) WITH (
    id uniqueidentifier '$[0]', counter bigint '$[1]', pct tinyint '$[2]', step int '$[3]',
    message nvarchar(1024) '$[4]'
) AS u, {s}.jobs AS q WITH (ROWLOCK, FORCESEEK)
WHERE q.id = CAST(u.id AS binary(16)) AND q.counter = u.counter AND q.state = 2
OPTION (FORCE ORDER, LOOP JOIN);
