-- The tables of anyqueue, in a schema of their own. Times are microseconds since
-- the Unix epoch; states, priorities and outcomes are the numbers of
-- anyqueue-core. Names and keys are compared byte by byte (COLLATE "C").

-- One row a queue, for ever: its number stands for its name in all other tables.
CREATE TABLE {s}.queues (
    queue  int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name   text COLLATE "C" NOT NULL UNIQUE,
    paused bool NOT NULL DEFAULT false
);

-- How many jobs each queue holds, by state, in two parts: `totals`, and what was
-- appended to `deltas` since. A step in a job's life appends and never updates a
-- row that another step updates too; `maintain` folds deltas into totals.
CREATE TABLE {s}.totals (
    queue     int4 PRIMARY KEY,
    scheduled int8 NOT NULL,
    ready     int8 NOT NULL,
    running   int8 NOT NULL,
    completed int8 NOT NULL,
    failed    int8 NOT NULL,
    cancelled int8 NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE {s}.deltas (
    queue     int4 NOT NULL,
    scheduled int4 NOT NULL DEFAULT 0,
    ready     int4 NOT NULL DEFAULT 0,
    running   int4 NOT NULL DEFAULT 0,
    completed int4 NOT NULL DEFAULT 0,
    failed    int4 NOT NULL DEFAULT 0,
    cancelled int4 NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- The workers that claimed lately: numbers keep rows of running jobs short.
CREATE TABLE {s}.workers (
    worker  int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name    text COLLATE "C" NOT NULL UNIQUE,
    seen_at int8 NOT NULL
);

-- What a job is: written once, read at each claim, removed by the purge.
CREATE TABLE {s}.bodies (
    id            uuid PRIMARY KEY,
    created_at    int8 NOT NULL,
    queue         int4 NOT NULL,
    max_attempts  int4 NOT NULL,
    priority      int2 NOT NULL,
    keyed         bool NOT NULL,         -- holds its unique key while unfinished
    kind          text NOT NULL,
    backoff       text,                  -- JSON; NULL: the default
    unique_key    text,
    unique_policy text,                  -- JSON
    trace         text,
    tags          text,                  -- JSON; NULL: none
    payload       text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.1);

-- Where an unfinished job is in its life: short rows. A job leaves for `finished`
-- at its end. `line` is queue * 4 + 3 - priority: the order of claims is line,
-- due_at, ord. The columns that a heartbeat changes are in no index (HOT).
CREATE TABLE {s}.live (
    id              uuid NOT NULL PRIMARY KEY,
    due_at          int8 NOT NULL,
    lease_until     int8,                -- only while running
    look_at         int8,                -- while running: no later than lease_until
    claimed_at      int8,
    counter         int8 NOT NULL DEFAULT 0,
    settled_counter int8 NOT NULL DEFAULT 0, -- of the last settle; 0: none
    line            int4 NOT NULL,
    ord             int4 NOT NULL,       -- the place among those of one call
    worker          int4,                -- only while running
    attempt         int4 NOT NULL DEFAULT 0,
    max_attempts    int4 NOT NULL,
    state           int2 NOT NULL,
    settled_kind    int2 NOT NULL DEFAULT 0,
    keyed           bool NOT NULL,
    flagged         bool NOT NULL DEFAULT false, -- its cancellation was requested
    back            bool NOT NULL DEFAULT false, -- waits again in the place it had
    snooze_reason   text
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX waiting ON {s}.live (line, due_at, ord) WHERE state < 2;
CREATE INDEX scheduled ON {s}.live (due_at) WHERE state = 0;
CREATE INDEX back ON {s}.live (line, due_at) WHERE back;
CREATE INDEX running ON {s}.live (look_at) WHERE state = 2;

-- How a finished job ended.
CREATE TABLE {s}.finished (
    id              uuid PRIMARY KEY,
    finished_at     int8 NOT NULL,
    due_at          int8 NOT NULL,
    claimed_at      int8,
    counter         int8 NOT NULL,
    settled_counter int8 NOT NULL,
    line            int4 NOT NULL,
    attempt         int4 NOT NULL,
    state           int2 NOT NULL,
    settled_kind    int2 NOT NULL,
    flagged         bool NOT NULL,
    snooze_reason   text,
    result          text                 -- NULL: `null`, as most return
) WITH (autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX ended ON {s}.finished (state, finished_at);

-- What a job last reported, where it ever did.
CREATE TABLE {s}.progress (
    id       uuid PRIMARY KEY,
    sequence int8 NOT NULL,
    percent  int2,
    step     int4,
    message  text
) WITH (fillfactor = 70);

-- The errors of a job's latest attempts. A claim ends once, so that its counter
-- names its error.
CREATE TABLE {s}.errors (
    id      uuid NOT NULL,
    counter int8 NOT NULL,
    attempt int4 NOT NULL,
    at      int8 NOT NULL,
    message text NOT NULL,
    PRIMARY KEY (id, counter)
);

-- Who holds a unique key. `until` is NULL for a key held while unfinished; `taken`
-- names the call that took it.
CREATE TABLE {s}.keys (
    queue int4 NOT NULL,
    key   text COLLATE "C" NOT NULL,
    id    uuid NOT NULL,
    until int8,
    taken int8 NOT NULL,
    PRIMARY KEY (queue, key)
);
CREATE INDEX keys_until ON {s}.keys (until) WHERE until IS NOT NULL;

-- Jobs by label, in the order of lists.
CREATE TABLE {s}.tags (
    tag text COLLATE "C" NOT NULL,
    id  uuid NOT NULL,
    PRIMARY KEY (tag, id)
);

-- The jobs that some process waits for, so that only their changes are told to
-- others. Hints: may be lost.
CREATE UNLOGGED TABLE {s}.watched (
    id    uuid PRIMARY KEY,
    until int8 NOT NULL
);
