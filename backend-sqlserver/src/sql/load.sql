-- The table into which many new jobs are loaded (bulk) before enqueue_many.sql stores them: of
-- this connection alone, in tempdb, whose collation may be another than the database's. A
-- heap, which takes rows in any order without a sort. All loaded texts are nvarchar(max): of
-- shorter ones the driver tells the server two lengths, in characters and in bytes. The last
-- three columns are the server's to fill. A statement of its own, without parameters: what is
-- made within a call with parameters is gone at that call's end.
CREATE TABLE #anyqueue_new (
    place int NOT NULL, id binary(16) NOT NULL, line int NOT NULL, max_attempts int NOT NULL,
    keyed bit NOT NULL, delay bigint NULL, at bigint NULL, period bigint NULL,
    kind nvarchar(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
    backoff nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL,
    given_key nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL,
    unique_policy nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL,
    trace nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL,
    tags nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL,
    payload nvarchar(max) COLLATE Latin1_General_100_BIN2 NOT NULL,
    due_at bigint NULL, until bigint NULL,
    unique_key nvarchar(256) COLLATE Latin1_General_100_BIN2 NULL
);
