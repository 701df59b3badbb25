-- Drops a schema (@P1) with its tables.
DECLARE @all nvarchar(max) = N'';
SELECT @all = @all + N'DROP TABLE ' + QUOTENAME(@P1) + N'.' + QUOTENAME(t.name) + N'; '
FROM sys.tables AS t WHERE t.schema_id = SCHEMA_ID(@P1);
SET @all = @all + N'DROP SCHEMA ' + QUOTENAME(@P1);
IF SCHEMA_ID(@P1) IS NOT NULL
    EXEC (@all);
