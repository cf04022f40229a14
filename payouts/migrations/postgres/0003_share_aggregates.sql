-- Shares are kept as sums: one row for each segment of the log, job, difficulty and worker. Space grows with miners and
-- time, not with the rate of shares. A segment ends where a job is made; its number, the position, is
-- session * 2^32 + count. What was a single share becomes a segment of one share under its old number, which is
-- smaller than any new one, so that positions of old blocks mean what they meant.

-- The last group of shares that the session has stored: the same group again changes nothing.
ALTER TABLE sessions ADD COLUMN last_group BIGINT NOT NULL DEFAULT 0;

-- The jobs that shares were found on. Numbers are session * 2^32 + count; `position` is the last segment before the job.
CREATE TABLE share_jobs (
    id           BIGINT PRIMARY KEY,
    position     BIGINT NOT NULL,
    opened_at_ms BIGINT NOT NULL,
    prev_hash    TEXT COLLATE "C",
    height       BIGINT,
    nbits        BIGINT NOT NULL,
    subsidy_sat  BIGINT,
    fees_sat     BIGINT
);

-- Answers "where in the log was that time".
CREATE INDEX share_jobs_by_time ON share_jobs (opened_at_ms, position);

CREATE TABLE workers (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account BIGINT NOT NULL REFERENCES accounts (id),
    name    TEXT COLLATE "C" NOT NULL,
    UNIQUE (account, name)
);

DROP TRIGGER shares_append_only ON shares;
DROP INDEX shares_by_time;
ALTER TABLE shares RENAME CONSTRAINT shares_pkey TO single_shares_pkey;
ALTER TABLE shares RENAME TO single_shares;

-- The account is that of the worker: it stands here too, so that a window is read without looking at the workers.
CREATE TABLE shares (
    position        BIGINT NOT NULL,
    job             BIGINT NOT NULL REFERENCES share_jobs (id),
    difficulty_log2 BIGINT NOT NULL,
    worker          BIGINT NOT NULL REFERENCES workers (id),
    reward          TEXT COLLATE "C" NOT NULL CHECK (reward IN ('shared', 'solo')),
    account         BIGINT NOT NULL,
    count           BIGINT NOT NULL CHECK (count > 0),
    first_at_ms     BIGINT NOT NULL,
    last_at_ms      BIGINT NOT NULL,
    PRIMARY KEY (position, job, difficulty_log2, worker, reward)
);

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
    block_hash   TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES blocks (hash),
    oldest       BIGINT NOT NULL,
    newest       BIGINT NOT NULL,
    edge         BIGINT, -- the position of the segment at the edge, if only a part of it counts
    edge_weight  TEXT COLLATE "C",
    edge_counted TEXT COLLATE "C"
);

CREATE TABLE block_weights (
    block_hash TEXT COLLATE "C" NOT NULL REFERENCES blocks (hash),
    account    BIGINT NOT NULL REFERENCES accounts (id),
    shares     BIGINT NOT NULL,
    weight     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (block_hash, account)
);

CREATE TRIGGER block_windows_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON block_windows FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE block_windows ENABLE ALWAYS TRIGGER block_windows_append_only;
CREATE TRIGGER block_weights_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON block_weights FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE block_weights ENABLE ALWAYS TRIGGER block_weights_append_only;
