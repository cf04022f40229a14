-- The pool's past, for charts. Each closed segment of the share log is added to it once; how far that has come is kept with
-- it. `step_s` says how finely a row is kept: in stretches of 60 s, 300 s, 7,200 s or 86,400 s of UTC. The account 0 is the
-- whole pool, the worker 0 a whole account: they have rows of their own, so that no chart reads all workers.

-- How many shares of each difficulty.
CREATE TABLE history_work (
    step_s          INTEGER NOT NULL,
    begins_at_ms    INTEGER NOT NULL,
    account         INTEGER NOT NULL,
    worker          INTEGER NOT NULL,
    difficulty_log2 INTEGER NOT NULL,
    count           INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (step_s, begins_at_ms, account, worker, difficulty_log2)
) STRICT, WITHOUT ROWID;

-- How many shares were refused, by what the miner was told.
CREATE TABLE history_refused (
    step_s       INTEGER NOT NULL,
    begins_at_ms INTEGER NOT NULL,
    account      INTEGER NOT NULL,
    worker       INTEGER NOT NULL,
    code         TEXT NOT NULL,
    count        INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (step_s, begins_at_ms, account, worker, code)
) STRICT, WITHOUT ROWID;

-- The most channels at a time, and the best share's difficulty: the bits of a 64-bit floating-point number, which sort as
-- the numbers do, for none is negative.
CREATE TABLE history_peaks (
    step_s       INTEGER NOT NULL,
    begins_at_ms INTEGER NOT NULL,
    account      INTEGER NOT NULL,
    worker       INTEGER NOT NULL,
    channels     INTEGER NOT NULL,
    best         INTEGER NOT NULL,
    PRIMARY KEY (step_s, begins_at_ms, account, worker)
) STRICT, WITHOUT ROWID;

CREATE TABLE history_workers (
    worker           INTEGER PRIMARY KEY REFERENCES workers (id),
    account          INTEGER NOT NULL REFERENCES accounts (id),
    last_share_at_ms INTEGER NOT NULL
) STRICT;

-- Answers "how many workers were there lately".
CREATE INDEX history_workers_by_time ON history_workers (last_share_at_ms);

-- All work that was in the history up to a block's share position, in decimal: the difference to the block before is what
-- the block has taken.
CREATE TABLE history_blocks (
    block_hash TEXT NOT NULL PRIMARY KEY REFERENCES blocks (hash),
    work       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row. All shares up to `upto` are in the history, and of those up to `goal` the ones of workers up to `worker`. It
-- tells of the time from `since_ms` to `until_ms`; `work` is all that ever came in, of shares behind `origin`.
CREATE TABLE history_progress (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    origin   INTEGER NOT NULL,
    upto     INTEGER NOT NULL,
    goal     INTEGER NOT NULL,
    worker   INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    work     TEXT NOT NULL
) STRICT;
