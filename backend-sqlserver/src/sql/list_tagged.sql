-- A page of the jobs with label @P8 (and all of @P9), highest id first: walks the primary
-- key of `tags` from the cursor @P1.
SET NOCOUNT ON;
DECLARE @before binary(16) = CAST(CAST(@P1 AS uniqueidentifier) AS binary(16));
DECLARE @also TABLE (tag nvarchar(64) COLLATE Latin1_General_100_BIN2 NOT NULL);
INSERT INTO @also (tag) SELECT u.tag FROM OPENJSON(@P9) WITH (tag nvarchar(64) '$[0]') AS u;
SELECT TOP (@P2) g.id
FROM {s}.tags AS g
JOIN {s}.jobs AS j ON j.id = g.id
JOIN {s}.bodies AS b ON b.seq = j.seq
WHERE g.tag = @P8 AND g.id < @before
  AND (@P3 = N'' OR b.kind = @P3)
  AND (@P4 IS NULL OR b.created_at >= @P4)
  AND (@P5 IS NULL OR b.created_at < @P5)
  AND (@P6 IS NULL OR j.line / 4 = @P6)
  AND @P7 & POWER(2, j.state) <> 0
  AND NOT EXISTS (
      SELECT 1 FROM @also AS a
      WHERE NOT EXISTS (SELECT 1 FROM {s}.tags AS x WHERE x.tag = a.tag AND x.id = g.id))
ORDER BY g.id DESC;
