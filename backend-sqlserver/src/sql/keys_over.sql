-- Frees unique keys whose period is over. Served by the index `keys_until`. A key that is
-- locked is being taken or freed.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DELETE TOP (@P1) k
FROM {s}.keys AS k WITH (READPAST, ROWLOCK, READCOMMITTEDLOCK)
WHERE k.until IS NOT NULL AND k.until <= DATEDIFF_BIG(MICROSECOND, '19700101', SYSUTCDATETIME());
