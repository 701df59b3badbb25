-- The tables of anyqueue, in a schema of their own. Times are microseconds since the
-- Unix epoch; states, priorities and outcomes are the numbers of anyqueue-core. Names and
-- keys are compared by their code units (BIN2). Ids are kept as their 16 bytes, whose
-- order is the ids' order; a uniqueidentifier sorts by its last bytes first.

-- One row a queue, for ever: its number stands for its name in all other tables.
CREATE TABLE {s}.queues (
    queue  int IDENTITY(1, 1) NOT NULL PRIMARY KEY,
    name   nvarchar(128) COLLATE Latin1_General_100_BIN2 NOT NULL UNIQUE,
    paused bit NOT NULL DEFAULT 0
);

-- How many jobs each queue holds, by state, in two parts: `totals`, and what was
-- appended to `deltas` since. A step in a job's life appends and never updates a row
-- that another step updates too; `maintain` folds deltas into totals.
CREATE TABLE {s}.totals (
    queue     int NOT NULL PRIMARY KEY,
    scheduled bigint NOT NULL,
    ready     bigint NOT NULL,
    running   bigint NOT NULL,
    completed bigint NOT NULL,
    failed    bigint NOT NULL,
    cancelled bigint NOT NULL
);
-- Clustered, so that deleting gives the pages back, which a heap does not.
CREATE TABLE {s}.deltas (
    n         bigint IDENTITY(1, 1) NOT NULL PRIMARY KEY,
    queue     int NOT NULL,
    scheduled int NOT NULL DEFAULT 0,
    ready     int NOT NULL DEFAULT 0,
    running   int NOT NULL DEFAULT 0,
    completed int NOT NULL DEFAULT 0,
    failed    int NOT NULL DEFAULT 0,
    cancelled int NOT NULL DEFAULT 0
);

-- The workers that claimed lately: numbers keep rows of running jobs short.
CREATE TABLE {s}.workers (
    worker  int IDENTITY(1, 1) NOT NULL PRIMARY KEY,
    name    nvarchar(128) COLLATE Latin1_General_100_BIN2 NOT NULL UNIQUE,
    seen_at bigint NOT NULL
);

-- Where a job is in its life: short rows, changed in place, clustered in the order of
-- enqueues. `line` is queue * 4 + 3 - priority: the order of claims is line, due_at, ord,
-- seq. `was` is the state before the last change, so that an UPDATE can tell it: the
-- counts need it. A heartbeat and a progress report change no column of an index.
CREATE TABLE {s}.jobs (
    seq             bigint IDENTITY(1, 1) NOT NULL PRIMARY KEY,
    id              binary(16) NOT NULL,
    due_at          bigint NOT NULL,
    counter         bigint NOT NULL DEFAULT 0,
    settled_counter bigint NOT NULL DEFAULT 0, -- of the last settle; 0: none
    sequence        bigint NOT NULL DEFAULT 0, -- of the progress
    claimed_at      bigint NULL,
    lease_until     bigint NULL,               -- only while running
    look_at         bigint NULL,               -- while running: no later than lease_until
    finished_at     bigint NULL,
    line            int NOT NULL,
    ord             int NOT NULL DEFAULT 0,    -- the place among those of one call
    attempt         int NOT NULL DEFAULT 0,
    max_attempts    int NOT NULL,
    worker          int NULL,                  -- only while running
    step            int NULL,
    state           tinyint NOT NULL,
    was             tinyint NOT NULL DEFAULT 0,
    settled_kind    tinyint NOT NULL DEFAULT 0,
    pct             tinyint NULL,
    keyed           bit NOT NULL,              -- holds its unique key while unfinished
    flagged         bit NOT NULL DEFAULT 0,    -- its cancellation was requested
    message         nvarchar(1024) NULL,
    snooze_reason   nvarchar(max) NULL
);
CREATE UNIQUE INDEX by_id ON {s}.jobs (id);
CREATE INDEX waiting ON {s}.jobs (line, due_at, ord, seq) WHERE state < 2;
CREATE INDEX scheduled ON {s}.jobs (due_at) WHERE state = 0;
CREATE INDEX running ON {s}.jobs (look_at) WHERE state = 2;
CREATE INDEX ended ON {s}.jobs (state, finished_at) WHERE state > 2;

-- What a job is: written once, read at each claim, removed by the purge.
CREATE TABLE {s}.bodies (
    seq           bigint NOT NULL PRIMARY KEY,
    created_at    bigint NOT NULL,
    kind          nvarchar(128) COLLATE Latin1_General_100_BIN2 NOT NULL,
    unique_key    nvarchar(256) COLLATE Latin1_General_100_BIN2 NULL,
    trace         nvarchar(256) NULL,
    backoff       nvarchar(max) NULL, -- JSON; NULL: the default
    unique_policy nvarchar(max) NULL, -- JSON
    tags          nvarchar(max) NULL, -- JSON; NULL: none
    payload       nvarchar(max) NOT NULL
);

-- What completed jobs returned; none: `null`, as most return.
CREATE TABLE {s}.results (
    seq    bigint NOT NULL PRIMARY KEY,
    result nvarchar(max) NOT NULL
);

-- The errors of a job's latest attempts. A claim ends once, so that its counter names
-- its error.
CREATE TABLE {s}.errors (
    seq     bigint NOT NULL,
    counter bigint NOT NULL,
    attempt int NOT NULL,
    at      bigint NOT NULL,
    message nvarchar(max) NOT NULL,
    PRIMARY KEY (seq, counter)
);

-- Who holds a unique key. `until` is NULL for a key held while unfinished; `taken` names
-- the call that took it.
CREATE TABLE {s}.keys (
    queue int NOT NULL,
    ukey  nvarchar(256) COLLATE Latin1_General_100_BIN2 NOT NULL,
    id    binary(16) NOT NULL,
    until bigint NULL,
    taken bigint NOT NULL,
    PRIMARY KEY (queue, ukey)
);
CREATE INDEX keys_until ON {s}.keys (until) WHERE until IS NOT NULL;

-- Jobs by label, in the order of lists.
CREATE TABLE {s}.tags (
    tag nvarchar(64) COLLATE Latin1_General_100_BIN2 NOT NULL,
    id  binary(16) NOT NULL,
    PRIMARY KEY (tag, id)
);
CREATE INDEX tags_by_id ON {s}.tags (id);

-- A statement touches up to a thousand rows: their locks stay locks on rows.
ALTER TABLE {s}.queues SET (LOCK_ESCALATION = DISABLE);
ALTER TABLE {s}.totals SET (LOCK_ESCALATION = DISABLE);
ALTER TABLE {s}.deltas SET (LOCK_ESCALATION = DISABLE);
ALTER TABLE {s}.workers SET (LOCK_ESCALATION = DISABLE);
ALTER TABLE {s}.jobs SET (LOCK_ESCALATION = DISABLE);
ALTER TABLE {s}.bodies SET (LOCK_ESCALATION = DISABLE);
ALTER TABLE {s}.results SET (LOCK_ESCALATION = DISABLE);
ALTER TABLE {s}.errors SET (LOCK_ESCALATION = DISABLE);
ALTER TABLE {s}.keys SET (LOCK_ESCALATION = DISABLE);
ALTER TABLE {s}.tags SET (LOCK_ESCALATION = DISABLE);
