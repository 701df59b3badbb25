-- Everything about some jobs. By the index `by_id` and primary keys. The shared lock on a
-- job's row is held until its other rows were read: every call that changes them changes
-- the job's row first, so that what is seen belongs together. Those rows are read as they
-- are by then (READCOMMITTEDLOCK), not as they were when the statement began, which is what
-- a database with row versions would show. What was read is sent after the locks are gone;
-- a body never changes. Each row is sought: rows of open transactions beside it are not
-- waited for.
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @new TABLE (id binary(16) NOT NULL PRIMARY KEY);
DECLARE @job TABLE (
    seq bigint NOT NULL PRIMARY KEY, id binary(16) NOT NULL, line int NOT NULL, state tinyint NOT NULL,
    attempt int NOT NULL, counter bigint NOT NULL, max_attempts int NOT NULL, due_at bigint NOT NULL,
    claimed_at bigint NULL, lease_until bigint NULL, finished_at bigint NULL, worker int NULL,
    flagged bit NOT NULL, snooze_reason nvarchar(max) NULL, sequence bigint NOT NULL, pct tinyint NULL,
    step int NULL, message nvarchar(1024) NULL, result nvarchar(max) NULL, errors nvarchar(max) NULL
);
INSERT INTO @new (id)
SELECT CAST(u.id AS binary(16)) FROM OPENJSON(@P1) WITH (id uniqueidentifier '$[0]') AS u;
INSERT INTO @job (seq, id, line, state, attempt, counter, max_attempts, due_at, claimed_at, lease_until,
                  finished_at, worker, flagged, snooze_reason, sequence, pct, step, message, result, errors)
SELECT j.seq, j.id, j.line, j.state, j.attempt, j.counter, j.max_attempts, j.due_at, j.claimed_at,
       j.lease_until, j.finished_at, j.worker, j.flagged, j.snooze_reason, j.sequence, j.pct, j.step,
       j.message, r.result, CASE WHEN j.counter > 0 THEN (
           SELECT e.attempt, e.at, e.message FROM {s}.errors AS e WITH (READCOMMITTEDLOCK, ROWLOCK) WHERE e.seq = j.seq
           ORDER BY e.counter FOR JSON PATH) END
FROM @new AS n
JOIN {s}.jobs AS j WITH (REPEATABLEREAD, ROWLOCK, FORCESEEK) ON j.id = n.id
LEFT JOIN {s}.results AS r WITH (READCOMMITTEDLOCK, ROWLOCK) ON r.seq = j.seq
OPTION (FORCE ORDER, LOOP JOIN);
SELECT j.id, q.name, b.kind, b.payload, j.line, j.state, j.attempt, j.counter, j.max_attempts, b.backoff,
       b.created_at, j.due_at, j.claimed_at, j.lease_until, j.finished_at, w.name, j.flagged,
       j.snooze_reason, j.sequence, j.pct, j.step, j.message, j.result, b.unique_key, b.unique_policy,
       b.tags, b.trace, j.errors
FROM @job AS j
JOIN {s}.bodies AS b WITH (ROWLOCK, FORCESEEK) ON b.seq = j.seq
JOIN {s}.queues AS q WITH (ROWLOCK, FORCESEEK) ON q.queue = j.line / 4
LEFT JOIN {s}.workers AS w WITH (ROWLOCK, FORCESEEK) ON w.worker = j.worker
OPTION (FORCE ORDER, LOOP JOIN);
