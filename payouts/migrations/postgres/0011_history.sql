-- The pool's past, for charts. Each closed segment of the share log is added to it once; how far that has come is kept with
-- it. `step_s` says how finely a row is kept: in stretches of 60 s, 300 s, 7,200 s or 86,400 s of UTC. The account 0 is the
-- whole pool, the worker 0 a whole account: they have rows of their own, so that no chart reads all workers.

-- How many shares of each difficulty.
CREATE TABLE history_work (
    step_s          BIGINT NOT NULL,
    begins_at_ms    BIGINT NOT NULL,
    account         BIGINT NOT NULL,
    worker          BIGINT NOT NULL,
    difficulty_log2 BIGINT NOT NULL,
    count           BIGINT NOT NULL CHECK (count > 0),
    PRIMARY KEY (step_s, begins_at_ms, account, worker, difficulty_log2)
);

-- How many shares were refused, by what the miner was told.
CREATE TABLE history_refused (
    step_s       BIGINT NOT NULL,
    begins_at_ms BIGINT NOT NULL,
    account      BIGINT NOT NULL,
    worker       BIGINT NOT NULL,
    code         TEXT COLLATE "C" NOT NULL,
    count        BIGINT NOT NULL CHECK (count > 0),
    PRIMARY KEY (step_s, begins_at_ms, account, worker, code)
);

-- The most channels at a time, and the best share's difficulty: the bits of a 64-bit floating-point number, which sort as
-- the numbers do, for none is negative.
CREATE TABLE history_peaks (
    step_s       BIGINT NOT NULL,
    begins_at_ms BIGINT NOT NULL,
    account      BIGINT NOT NULL,
    worker       BIGINT NOT NULL,
    channels     BIGINT NOT NULL,
    best         BIGINT NOT NULL,
    PRIMARY KEY (step_s, begins_at_ms, account, worker)
);

CREATE TABLE history_workers (
    worker           BIGINT PRIMARY KEY REFERENCES workers (id),
    account          BIGINT NOT NULL REFERENCES accounts (id),
    last_share_at_ms BIGINT NOT NULL
);

-- Answers "how many workers were there lately".
CREATE INDEX history_workers_by_time ON history_workers (last_share_at_ms);

-- All work that was in the history up to a block's share position, in decimal: the difference to the block before is what
-- the block has taken.
CREATE TABLE history_blocks (
    block_hash TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES blocks (hash),
    work       TEXT COLLATE "C" NOT NULL
);

-- One row. All shares up to `upto` are in the history, and of those up to `goal` the ones of workers up to `worker`. It
-- tells of the time from `since_ms` to `until_ms`; `work` is all that ever came in, of shares behind `origin`.
CREATE TABLE history_progress (
    id       BIGINT PRIMARY KEY CHECK (id = 1),
    origin   BIGINT NOT NULL,
    upto     BIGINT NOT NULL,
    goal     BIGINT NOT NULL,
    worker   BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    work     TEXT COLLATE "C" NOT NULL
);
