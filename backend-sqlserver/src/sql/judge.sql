-- What a handle is told at its start: whether this database acknowledges commits before they
-- are on stable storage (2: FORCED, for all commits; 1, ALLOWED, is for those that ask for it,
-- which none here does), and who it is to the server. A database's own row is there for all.
-- OPENJSON is there from compatibility level 130 on: a handle is refused at its start, and
-- not at its first call.
SELECT CAST(d.delayed_durability AS int) AS delayed, ORIGINAL_LOGIN() AS login,
       (SELECT COUNT(*) FROM OPENJSON(N'[]') AS u) AS json
FROM sys.databases AS d WHERE d.name = DB_NAME();
