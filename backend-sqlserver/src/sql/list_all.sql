-- A page of all jobs, highest id first: walks the index `by_id` from the cursor @P1 and
-- drops what does not match. Used where most jobs match. @P7: the states, a bit each.
SET NOCOUNT ON;
DECLARE @before binary(16) = CAST(CAST(@P1 AS uniqueidentifier) AS binary(16));
SELECT TOP (@P2) j.id
FROM {s}.jobs AS j JOIN {s}.bodies AS b ON b.seq = j.seq
WHERE j.id < @before
  AND (@P3 = N'' OR b.kind = @P3)
  AND (@P4 IS NULL OR b.created_at >= @P4)
  AND (@P5 IS NULL OR b.created_at < @P5)
  AND (@P6 IS NULL OR j.line / 4 = @P6)
  AND @P7 & POWER(2, j.state) <> 0
ORDER BY j.id DESC;
