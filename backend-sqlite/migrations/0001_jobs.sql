-- The tables of anyqueue. They may live in the application's own file: every
-- name starts with `anyqueue_`. Times are microseconds since the Unix epoch;
-- states, priorities and outcomes are the numbers of anyqueue-core. Text is
-- compared byte by byte (BINARY, SQLite's default).

-- One row a queue, for ever: its number stands for its name in all other
-- tables. How many jobs it holds, by state, is kept by every transaction that
-- changes it, so that counting never scans.
CREATE TABLE anyqueue_queues (
    queue     INTEGER PRIMARY KEY,
    name      TEXT    NOT NULL UNIQUE,
    paused    INTEGER NOT NULL DEFAULT 0,
    scheduled INTEGER NOT NULL DEFAULT 0,
    ready     INTEGER NOT NULL DEFAULT 0,
    running   INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed    INTEGER NOT NULL DEFAULT 0,
    cancelled INTEGER NOT NULL DEFAULT 0
) STRICT;

-- The workers that claimed lately: numbers keep rows of running jobs short.
CREATE TABLE anyqueue_workers (
    worker  INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE,
    seen_at INTEGER NOT NULL
) STRICT;
CREATE INDEX anyqueue_workers_seen ON anyqueue_workers (seen_at);

-- The last seq given to a job; one row. SQLite's AUTOINCREMENT would promise
-- the same at the cost of a write a job instead of one a transaction.
CREATE TABLE anyqueue_sequence (last INTEGER NOT NULL) STRICT;
INSERT INTO anyqueue_sequence (last) VALUES (0);

-- What a job is: written once. `seq` is the order of enqueues and is never
-- given twice, so what was once read of id and seq stays true.
-- The payload comes last: the columns before it are read without its pages.
CREATE TABLE anyqueue_bodies (
    seq           INTEGER PRIMARY KEY,
    id            BLOB    NOT NULL UNIQUE,
    created_at    INTEGER NOT NULL,
    kind          TEXT    NOT NULL,
    backoff       TEXT,             -- JSON; NULL: the default
    unique_key    TEXT,
    unique_policy TEXT,             -- JSON
    trace         TEXT,
    tags          TEXT,             -- JSON; NULL: none
    payload       TEXT    NOT NULL
) STRICT;

-- Where a job is in its life: short rows, changed in place by every step.
CREATE TABLE anyqueue_jobs (
    seq              INTEGER PRIMARY KEY,
    queue            INTEGER NOT NULL,
    state            INTEGER NOT NULL,
    priority         INTEGER NOT NULL,
    due_at           INTEGER NOT NULL,
    max_attempts     INTEGER NOT NULL,
    keyed            INTEGER NOT NULL,           -- 1: holds a key while unfinished
    attempt          INTEGER NOT NULL DEFAULT 0,
    counter          INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    settled_counter  INTEGER NOT NULL DEFAULT 0, -- of the last settle; 0: none
    settled_kind     INTEGER NOT NULL DEFAULT 0,
    worker           INTEGER,                    -- only while running
    claimed_at       INTEGER,
    ends_at          INTEGER,                    -- running: the lease's end; finished: when it ended
    snooze_reason    TEXT
) STRICT;

-- Each job is in exactly one of these. The row's seq ends each entry by itself.
CREATE INDEX anyqueue_scheduled ON anyqueue_jobs (queue, due_at) WHERE state = 0;
CREATE INDEX anyqueue_ready ON anyqueue_jobs (queue, priority DESC, due_at) WHERE state = 1;
CREATE INDEX anyqueue_running ON anyqueue_jobs (queue, ends_at) WHERE state = 2;
CREATE INDEX anyqueue_finished ON anyqueue_jobs (queue, state, ends_at) WHERE state >= 3;

-- What a completed job returned. One without a row returned `null`, as most do.
CREATE TABLE anyqueue_results (
    seq    INTEGER PRIMARY KEY,
    result TEXT NOT NULL
) STRICT;

-- What a job last reported, where it ever did.
CREATE TABLE anyqueue_progress (
    seq      INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL,
    percent  INTEGER,
    step     INTEGER,
    message  TEXT
) STRICT;

-- The errors of a job's latest attempts. A claim ends once, so that its
-- counter names its error.
CREATE TABLE anyqueue_errors (
    seq     INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    message TEXT    NOT NULL,
    PRIMARY KEY (seq, counter)
) STRICT, WITHOUT ROWID;

-- Who holds a unique key. `until` is NULL for a key held while unfinished.
CREATE TABLE anyqueue_keys (
    queue INTEGER NOT NULL,
    key   TEXT    NOT NULL,
    id    BLOB    NOT NULL,
    until INTEGER,
    PRIMARY KEY (queue, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX anyqueue_keys_until ON anyqueue_keys (until) WHERE until IS NOT NULL;

-- Jobs by label, in the order of lists.
CREATE TABLE anyqueue_tags (
    tag TEXT NOT NULL,
    id  BLOB NOT NULL,
    PRIMARY KEY (tag, id)
) STRICT, WITHOUT ROWID;
