-- Extends the leases of the jobs that their tokens hold. One statement, by the index
-- `by_id`; changes no column of an index. Tokens come sorted by id: calls that share jobs
-- lock them in one order.
SET NOCOUNT ON;
SET XACT_ABORT ON;
UPDATE q
SET lease_until = DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME()) + @P2
OUTPUT inserted.id, inserted.counter, inserted.flagged
FROM OPENJSON(@P1) WITH (id uniqueidentifier '$[0]', counter bigint '$[1]') AS u,
     {s}.jobs AS q WITH (ROWLOCK, FORCESEEK)
WHERE q.id = CAST(u.id AS binary(16)) AND q.counter = u.counter AND q.state = 2
OPTION (FORCE ORDER, LOOP JOIN);
