-- Shares are kept as sums: one row for each segment of the log, job, difficulty and worker. Space grows with miners and
-- time, not with the rate of shares. A segment ends where a job is made; its number, the position, is
-- session * 2^32 + count. What was a single share becomes a segment of one share under its old number, which is
-- smaller than any new one, so that positions of old blocks mean what they meant.

-- The last group of shares that the session has stored: the same group again changes nothing.
ALTER TABLE sessions ADD COLUMN last_group INTEGER NOT NULL DEFAULT 0;

-- The jobs that shares were found on. Numbers are session * 2^32 + count; `position` is the last segment before the job.
CREATE TABLE share_jobs (
    id           INTEGER PRIMARY KEY,
    position     INTEGER NOT NULL,
    opened_at_ms INTEGER NOT NULL,
    prev_hash    TEXT,
    height       INTEGER,
    nbits        INTEGER NOT NULL,
    subsidy_sat  INTEGER,
    fees_sat     INTEGER
) STRICT;

-- Answers "where in the log was that time".
CREATE INDEX share_jobs_by_time ON share_jobs (opened_at_ms, position);

CREATE TABLE workers (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts (id),
    name    TEXT NOT NULL,
    UNIQUE (account, name)
) STRICT;

DROP TRIGGER shares_no_update;
DROP TRIGGER shares_no_delete;
DROP INDEX shares_by_time;
ALTER TABLE shares RENAME TO single_shares;

-- The account is that of the worker: it stands here too, so that a window is read without looking at the workers.
CREATE TABLE shares (
    position        INTEGER NOT NULL,
    job             INTEGER NOT NULL REFERENCES share_jobs (id),
    difficulty_log2 INTEGER NOT NULL,
    worker          INTEGER NOT NULL REFERENCES workers (id),
    reward          TEXT NOT NULL CHECK (reward IN ('shared', 'solo')),
    account         INTEGER NOT NULL,
    count           INTEGER NOT NULL CHECK (count > 0),
    first_at_ms     INTEGER NOT NULL,
    last_at_ms      INTEGER NOT NULL,
    PRIMARY KEY (position, job, difficulty_log2, worker, reward)
) STRICT, WITHOUT ROWID;

-- Of the jobs of single shares nothing was kept but the network's target: one row stands for all of each target. Its
-- height, subsidy and fees are unknown.
INSERT INTO share_jobs (id, position, opened_at_ms, nbits)
    SELECT MIN(seq), MIN(seq) - 1, MIN(at_ms), nbits FROM single_shares GROUP BY nbits;
INSERT INTO workers (account, name) SELECT DISTINCT account, worker FROM single_shares ORDER BY account, worker;
INSERT INTO shares (position, job, difficulty_log2, worker, reward, account, count, first_at_ms, last_at_ms)
    SELECT single_shares.seq, share_jobs.id, single_shares.difficulty_log2, workers.id, 'shared',
           single_shares.account, 1, single_shares.at_ms, single_shares.at_ms
    FROM single_shares
    JOIN share_jobs ON share_jobs.nbits = single_shares.nbits
    JOIN workers ON workers.account = single_shares.account AND workers.name = single_shares.worker
    ORDER BY single_shares.seq;
DROP TABLE single_shares;

-- What was counted for each block, frozen with its split: its credits can be explained after the shares are gone. Blocks
-- recorded earlier have none. Weights are integers of up to 512 bits, in decimal.
CREATE TABLE block_windows (
    block_hash   TEXT NOT NULL PRIMARY KEY REFERENCES blocks (hash),
    oldest       INTEGER NOT NULL,
    newest       INTEGER NOT NULL,
    edge         INTEGER, -- the position of the segment at the edge, if only a part of it counts
    edge_weight  TEXT,
    edge_counted TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE block_weights (
    block_hash TEXT NOT NULL REFERENCES blocks (hash),
    account    INTEGER NOT NULL REFERENCES accounts (id),
    shares     INTEGER NOT NULL,
    weight     TEXT NOT NULL,
    PRIMARY KEY (block_hash, account)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER block_windows_no_update BEFORE UPDATE ON block_windows BEGIN SELECT RAISE(ABORT, 'block windows are append-only'); END;
CREATE TRIGGER block_windows_no_delete BEFORE DELETE ON block_windows BEGIN SELECT RAISE(ABORT, 'block windows are append-only'); END;
CREATE TRIGGER block_weights_no_update BEFORE UPDATE ON block_weights BEGIN SELECT RAISE(ABORT, 'block weights are append-only'); END;
CREATE TRIGGER block_weights_no_delete BEFORE DELETE ON block_weights BEGIN SELECT RAISE(ABORT, 'block weights are append-only'); END;
