-- Whether this database acknowledges commits before they are on stable storage, and how it
-- reads. 2: FORCED, for all commits; 1, ALLOWED, is for those that ask for it, which none
-- here does.
SELECT CAST(d.delayed_durability AS int) AS delayed, CAST(d.is_read_committed_snapshot_on AS int) AS versions
FROM sys.databases AS d WHERE d.name = DB_NAME();
