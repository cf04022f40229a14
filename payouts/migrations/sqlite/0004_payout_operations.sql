-- What an operator controls: approval, cancelling, restraints, thresholds and schedules; and batches that more than one
-- transaction tries to pay. A batch's transaction moves to its first attempt.
--
-- SQLite cannot change a table's checks, so the tables of batches are made anew, in the order in which they refer to
-- each other.

CREATE TABLE batches_before AS SELECT * FROM batches;
CREATE TABLE batch_outputs_before AS SELECT * FROM batch_outputs;
CREATE TABLE batch_lots_before AS SELECT * FROM batch_lots;
DROP TABLE batch_lots;
DROP TABLE batch_outputs;
DROP TABLE batches;

CREATE TABLE batches (
    id            INTEGER PRIMARY KEY,
    state         TEXT NOT NULL CHECK (state IN ('open', 'confirmed', 'cancelled', 'replaced')),
    approval      TEXT NOT NULL CHECK (approval IN ('not_needed', 'awaited', 'given')),
    epoch         INTEGER NOT NULL,
    attempt       INTEGER, -- the one that is confirmed
    block_hash    TEXT,
    block_height  INTEGER,
    block_time_s  INTEGER,
    replaced_by   TEXT, -- the transaction that has the coins
    created_at_ms INTEGER NOT NULL,
    CHECK ((state = 'confirmed') = (block_hash IS NOT NULL)),
    CHECK ((state = 'confirmed') = (attempt IS NOT NULL)),
    CHECK ((state = 'replaced') = (replaced_by IS NOT NULL))
) STRICT;

INSERT INTO batches (id, state, approval, epoch, created_at_ms, attempt, block_hash, block_height, block_time_s)
SELECT id, CASE state WHEN 'confirmed' THEN 'confirmed' ELSE 'open' END, 'not_needed', epoch, created_at_ms,
    CASE state WHEN 'confirmed' THEN 0 END, block_hash, block_height, block_time_s
FROM batches_before;

CREATE TABLE batch_attempts (
    batch           INTEGER NOT NULL REFERENCES batches (id),
    attempt         INTEGER NOT NULL,
    txid            TEXT NOT NULL, -- a batch after a cancelled one may have the same
    psbt            BLOB NOT NULL,
    signed          BLOB,
    network_fee_sat INTEGER NOT NULL,
    stage           TEXT NOT NULL CHECK (stage IN ('created', 'signed', 'broadcast')),
    created_at_ms   INTEGER NOT NULL,
    PRIMARY KEY (batch, attempt),
    CHECK ((stage = 'created') = (signed IS NULL))
) STRICT, WITHOUT ROWID;

INSERT INTO batch_attempts (batch, attempt, txid, psbt, signed, network_fee_sat, stage, created_at_ms)
SELECT id, 0, txid, psbt, signed, network_fee_sat, CASE state WHEN 'confirmed' THEN 'broadcast' ELSE state END,
    created_at_ms
FROM batches_before;

CREATE TABLE batch_outputs (
    batch   INTEGER NOT NULL REFERENCES batches (id),
    vout    INTEGER NOT NULL,
    account INTEGER NOT NULL REFERENCES accounts (id),
    sat     INTEGER NOT NULL, -- what is taken from the balance
    fee_sat INTEGER NOT NULL CHECK (fee_sat BETWEEN 0 AND sat), -- the part of it that goes to the network
    PRIMARY KEY (batch, vout),
    UNIQUE (batch, account)
) STRICT, WITHOUT ROWID;

INSERT INTO batch_outputs (batch, vout, account, sat, fee_sat)
SELECT batch, vout, account, sat, 0 FROM batch_outputs_before;

CREATE TABLE batch_lots (
    batch      INTEGER NOT NULL,
    vout       INTEGER NOT NULL,
    line       INTEGER NOT NULL,
    block_hash TEXT NOT NULL REFERENCES blocks (hash),
    sat        INTEGER NOT NULL,
    PRIMARY KEY (batch, vout, line),
    FOREIGN KEY (batch, vout) REFERENCES batch_outputs (batch, vout)
) STRICT, WITHOUT ROWID;

INSERT INTO batch_lots SELECT batch, vout, line, block_hash, sat FROM batch_lots_before;

DROP TABLE batches_before;
DROP TABLE batch_outputs_before;
DROP TABLE batch_lots_before;

-- Who approved, why it was cancelled, and what else is on record about a batch.
CREATE TABLE batch_events (
    batch  INTEGER NOT NULL REFERENCES batches (id),
    number INTEGER NOT NULL,
    kind   TEXT NOT NULL CHECK (kind IN ('approved', 'exported', 'cancelled', 'replaced')),
    at_ms  INTEGER NOT NULL,
    note   TEXT NOT NULL,
    PRIMARY KEY (batch, number)
) STRICT, WITHOUT ROWID;

-- Transactions that are not ours and took coins of batches; the loss of each is booked once.
CREATE TABLE conflicts (
    txid     TEXT NOT NULL PRIMARY KEY,
    batch    INTEGER NOT NULL REFERENCES batches (id),
    loss_sat INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The history of accounts that were not paid for a while. Each row came with one entry.
CREATE TABLE restraints (
    entry     INTEGER PRIMARY KEY REFERENCES entries (seq),
    account   INTEGER NOT NULL REFERENCES accounts (id),
    restraint TEXT NOT NULL CHECK (restraint IN ('held', 'blocked')),
    number    INTEGER NOT NULL,
    act       TEXT NOT NULL CHECK (act IN ('begun', 'swept', 'ended')),
    reason    TEXT NOT NULL,
    at_ms     INTEGER NOT NULL,
    UNIQUE (account, restraint, number)
) STRICT;

CREATE TABLE payout_thresholds (
    account       INTEGER PRIMARY KEY REFERENCES accounts (id),
    threshold_sat INTEGER -- nothing for the pool's
) STRICT;

-- The slots of the schedule that are done with: all that was due then is in batches. The first row under a schedule is the
-- slot before it was chosen.
CREATE TABLE payout_runs (
    number   INTEGER PRIMARY KEY,
    schedule TEXT NOT NULL,
    slot_ms  INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL
) STRICT;

CREATE TRIGGER batch_events_no_update BEFORE UPDATE ON batch_events BEGIN SELECT RAISE(ABORT, 'batch events are append-only'); END;
CREATE TRIGGER batch_events_no_delete BEFORE DELETE ON batch_events BEGIN SELECT RAISE(ABORT, 'batch events are append-only'); END;
CREATE TRIGGER conflicts_no_update BEFORE UPDATE ON conflicts BEGIN SELECT RAISE(ABORT, 'conflicts are append-only'); END;
CREATE TRIGGER conflicts_no_delete BEFORE DELETE ON conflicts BEGIN SELECT RAISE(ABORT, 'conflicts are append-only'); END;
CREATE TRIGGER restraints_no_update BEFORE UPDATE ON restraints BEGIN SELECT RAISE(ABORT, 'restraints are append-only'); END;
CREATE TRIGGER restraints_no_delete BEFORE DELETE ON restraints BEGIN SELECT RAISE(ABORT, 'restraints are append-only'); END;
CREATE TRIGGER payout_runs_no_update BEFORE UPDATE ON payout_runs BEGIN SELECT RAISE(ABORT, 'payout runs are append-only'); END;
CREATE TRIGGER payout_runs_no_delete BEFORE DELETE ON payout_runs BEGIN SELECT RAISE(ABORT, 'payout runs are append-only'); END;
