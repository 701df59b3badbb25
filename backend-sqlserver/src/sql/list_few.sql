-- A page of the jobs in the states @P7, highest id first, by the indexes of those states.
-- Used where they are counted to be few.
SET NOCOUNT ON;
DECLARE @before binary(16) = CAST(CAST(@P1 AS uniqueidentifier) AS binary(16));
SELECT TOP (@P2) x.id
FROM (
    SELECT j.id, j.seq, j.line FROM {s}.jobs AS j WITH (INDEX(waiting))
    WHERE j.state < 2 AND @P7 & 3 <> 0 AND @P7 & POWER(2, j.state) <> 0
    UNION ALL
    SELECT j.id, j.seq, j.line FROM {s}.jobs AS j WITH (INDEX(running))
    WHERE j.state = 2 AND @P7 & 4 <> 0
    UNION ALL
    SELECT j.id, j.seq, j.line FROM {s}.jobs AS j WITH (INDEX(ended))
    WHERE j.state > 2 AND j.state = 3 AND @P7 & 8 <> 0
    UNION ALL
    SELECT j.id, j.seq, j.line FROM {s}.jobs AS j WITH (INDEX(ended))
    WHERE j.state > 2 AND j.state = 4 AND @P7 & 16 <> 0
    UNION ALL
    SELECT j.id, j.seq, j.line FROM {s}.jobs AS j WITH (INDEX(ended))
    WHERE j.state > 2 AND j.state = 5 AND @P7 & 32 <> 0
) AS x JOIN {s}.bodies AS b ON b.seq = x.seq
WHERE x.id < @before
  AND (@P3 = N'' OR b.kind = @P3)
  AND (@P4 IS NULL OR b.created_at >= @P4)
  AND (@P5 IS NULL OR b.created_at < @P5)
  AND (@P6 IS NULL OR x.line / 4 = @P6)
ORDER BY x.id DESC;
