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
-- due_at, ord. Neither a claim nor a heartbeat changes a column that is in an
-- index, and pages keep room for a second version, which is longer: both are HOT, and no index
-- grows by them.
CREATE TABLE {s}.live (
    id              uuid NOT NULL PRIMARY KEY,
    due_at          int8 NOT NULL,
    lease_until     int8,                -- only while running
    look_at         int8,                -- while running: that of its row in `held`
    claimed_at      int8,
    counter         int8 NOT NULL DEFAULT 0,
    settled_counter int8 NOT NULL DEFAULT 0, -- of the last settle; 0: none
    ord             int8 NOT NULL,       -- its place in the order of all enqueues
    line            int4 NOT NULL,
    worker          int4,                -- only while running
    attempt         int4 NOT NULL DEFAULT 0,
    max_attempts    int4 NOT NULL,
    size            int4 NOT NULL,               -- of the payload, in bytes
    state           int2 NOT NULL,
    settled_kind    int2 NOT NULL DEFAULT 0,
    keyed           bool NOT NULL,
    later           bool NOT NULL,               -- scheduled
    flagged         bool NOT NULL DEFAULT false, -- its cancellation was requested
    back            bool NOT NULL DEFAULT false, -- waits again in the place it had
    snooze_reason   text
) WITH (fillfactor = 42, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 1000000000,
        autovacuum_vacuum_cost_delay = 0);
CREATE INDEX waiting ON {s}.live (line, due_at, ord);
CREATE INDEX scheduled ON {s}.live (due_at) WHERE later;
CREATE INDEX back ON {s}.live (line, due_at) WHERE back;

-- When to look whether leases have run out: a row a claim, not an entry a job. A
-- job belongs to the row with its `look_at`, which is no later than its lease's
-- end; the others that a row names are gone, or belong to another row.
CREATE TABLE {s}.held (
    look_at int8 NOT NULL,
    worker  int4 NOT NULL,
    ids     uuid[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE {s}.held ALTER COLUMN ids SET STORAGE EXTERNAL;
CREATE INDEX held_look ON {s}.held (look_at);

-- How a finished job ended.
CREATE TABLE {s}.finished (
    id              uuid PRIMARY KEY,
    finished_at     int8 NOT NULL,
    due_at          int8 NOT NULL,
    claimed_at      int8,
    counter         int8 NOT NULL,
    settled_counter int8 NOT NULL,
    ord             int8 NOT NULL,
    line            int4 NOT NULL,
    attempt         int4 NOT NULL,
    state           int2 NOT NULL,
    settled_kind    int2 NOT NULL,
    flagged         bool NOT NULL,
    snooze_reason   text,
    result          text                 -- NULL: `null`, as most return
) WITH (autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX unsuccessful ON {s}.finished (state, id) WHERE state > 3;

-- What ended when, for the purge: a row a call, not an entry a job. A job belongs
-- to the row with its `finished_at`; others that a row names were run again.
CREATE TABLE {s}.ended (
    finished_at int8 NOT NULL,
    state       int2 NOT NULL,
    ids         uuid[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.1);
ALTER TABLE {s}.ended ALTER COLUMN ids SET STORAGE EXTERNAL;
CREATE INDEX ended_at ON {s}.ended (state, finished_at);

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

-- They have no key. Where all tables are published, PostgreSQL refuses to change those
-- whose rows a subscriber could not tell apart; elsewhere this costs nothing.
ALTER TABLE {s}.deltas REPLICA IDENTITY FULL;
ALTER TABLE {s}.held REPLICA IDENTITY FULL;
ALTER TABLE {s}.ended REPLICA IDENTITY FULL;
