-- Drops a schema (@P1) with its tables.
DECLARE @all nvarchar(max);
SELECT @all = STRING_AGG(
    CAST(N'DROP TABLE ' + QUOTENAME(@P1) + N'.' + QUOTENAME(t.name) + N';' AS nvarchar(max)), N' ')
FROM sys.tables AS t WHERE t.schema_id = SCHEMA_ID(@P1);
SET @all = COALESCE(@all, N'') + N' DROP SCHEMA ' + QUOTENAME(@P1) + N';';
IF SCHEMA_ID(@P1) IS NOT NULL
    EXEC (@all);
