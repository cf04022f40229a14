-- Everything the pool keeps about shares and money. Amounts are satoshis, hashes of blocks and transactions stand in
-- their usual text form (that of a share alone is in bytes), times are milliseconds since 1970 UTC unless a name says otherwise.

CREATE TABLE sessions (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    address       TEXT NOT NULL UNIQUE,
    script_pubkey BLOB NOT NULL
) STRICT;

CREATE TABLE shares (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    account         INTEGER NOT NULL REFERENCES accounts (id),
    worker          TEXT NOT NULL,
    channel         INTEGER NOT NULL,
    job             INTEGER NOT NULL,
    sequence_number INTEGER NOT NULL,
    difficulty_log2 INTEGER NOT NULL,
    nbits           INTEGER NOT NULL,
    header_hash     BLOB NOT NULL UNIQUE, -- 32 bytes in internal order: the reverse of the text form
    at_ms           INTEGER NOT NULL
) STRICT;

-- Answers "how much work since then, whose" from the index alone. Times grow, so it is written at its end.
CREATE INDEX shares_by_time ON shares (at_ms, account, difficulty_log2);

CREATE TABLE entries (
    seq      INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    key      TEXT NOT NULL,
    corrects INTEGER REFERENCES entries (seq),
    at_ms    INTEGER NOT NULL,
    digest   TEXT NOT NULL,
    previous TEXT NOT NULL UNIQUE,
    hash     TEXT NOT NULL UNIQUE,
    UNIQUE (kind, key)
) STRICT;

CREATE TABLE postings (
    entry   INTEGER NOT NULL REFERENCES entries (seq),
    line    INTEGER NOT NULL,
    account TEXT NOT NULL,
    sat     INTEGER NOT NULL,
    PRIMARY KEY (entry, line)
) STRICT, WITHOUT ROWID;

-- Sums of the postings, kept with them; an audit recomputes them.
CREATE TABLE balances (
    account TEXT NOT NULL PRIMARY KEY,
    sat     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    hash           TEXT NOT NULL PRIMARY KEY,
    height         INTEGER NOT NULL,
    coinbase_txid  TEXT NOT NULL,
    coinbase_vout  INTEGER NOT NULL,
    value_sat      INTEGER NOT NULL,
    subsidy_sat    INTEGER NOT NULL,
    finder         INTEGER NOT NULL REFERENCES accounts (id),
    share_position INTEGER NOT NULL,
    found_at_ms    INTEGER NOT NULL,
    fee_sat        INTEGER NOT NULL,
    phase          TEXT NOT NULL CHECK (phase IN ('immature', 'matured', 'orphaned')),
    epoch          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX blocks_by_height ON blocks (height);

CREATE TABLE credits (
    block_hash TEXT NOT NULL REFERENCES blocks (hash),
    account    INTEGER NOT NULL REFERENCES accounts (id),
    sat        INTEGER NOT NULL,
    paid_sat   INTEGER NOT NULL CHECK (paid_sat BETWEEN 0 AND sat),
    PRIMARY KEY (block_hash, account)
) STRICT, WITHOUT ROWID;

CREATE INDEX credits_unpaid ON credits (account) WHERE paid_sat < sat;

CREATE TABLE batches (
    id              INTEGER PRIMARY KEY,
    txid            TEXT NOT NULL UNIQUE,
    psbt            BLOB NOT NULL,
    signed          BLOB,
    network_fee_sat INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('created', 'signed', 'broadcast', 'confirmed')),
    epoch           INTEGER NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    block_hash      TEXT,
    block_height    INTEGER,
    block_time_s    INTEGER,
    CHECK ((state = 'created') = (signed IS NULL)),
    CHECK ((state = 'confirmed') = (block_hash IS NOT NULL))
) STRICT;

CREATE TABLE batch_outputs (
    batch   INTEGER NOT NULL REFERENCES batches (id),
    vout    INTEGER NOT NULL,
    account INTEGER NOT NULL REFERENCES accounts (id),
    sat     INTEGER NOT NULL,
    PRIMARY KEY (batch, vout),
    UNIQUE (batch, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch_lots (
    batch      INTEGER NOT NULL,
    vout       INTEGER NOT NULL,
    line       INTEGER NOT NULL,
    block_hash TEXT NOT NULL REFERENCES blocks (hash),
    sat        INTEGER NOT NULL,
    PRIMARY KEY (batch, vout, line),
    FOREIGN KEY (batch, vout) REFERENCES batch_outputs (batch, vout)
) STRICT, WITHOUT ROWID;

CREATE TABLE export_records (
    txid          TEXT NOT NULL,
    vout          INTEGER NOT NULL,
    sat           INTEGER NOT NULL,
    account       INTEGER NOT NULL REFERENCES accounts (id),
    address       TEXT NOT NULL,
    script_pubkey BLOB NOT NULL,
    PRIMARY KEY (txid, vout)
) STRICT, WITHOUT ROWID;

CREATE TABLE export_lots (
    txid          TEXT NOT NULL,
    vout          INTEGER NOT NULL,
    line          INTEGER NOT NULL,
    coinbase_txid TEXT NOT NULL,
    coinbase_vout INTEGER NOT NULL,
    block_hash    TEXT NOT NULL,
    sat           INTEGER NOT NULL,
    PRIMARY KEY (txid, vout, line),
    FOREIGN KEY (txid, vout) REFERENCES export_records (txid, vout)
) STRICT, WITHOUT ROWID;

CREATE TABLE export_rows (
    seq          INTEGER PRIMARY KEY,
    txid         TEXT NOT NULL,
    vout         INTEGER NOT NULL,
    state        TEXT NOT NULL,
    block_hash   TEXT NOT NULL,
    block_height INTEGER NOT NULL,
    block_time_s INTEGER NOT NULL,
    entry        INTEGER NOT NULL REFERENCES entries (seq),
    entry_hash   TEXT NOT NULL,
    previous     TEXT NOT NULL UNIQUE,
    hash         TEXT NOT NULL UNIQUE,
    FOREIGN KEY (txid, vout) REFERENCES export_records (txid, vout)
) STRICT;

-- The wallet's changes, in the order in which they add up.
CREATE TABLE wallet_changes (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    change TEXT NOT NULL
) STRICT;

-- What was written for ever cannot be changed, not even by a mistake of ours.
CREATE TRIGGER shares_no_update BEFORE UPDATE ON shares BEGIN SELECT RAISE(ABORT, 'shares are append-only'); END;
CREATE TRIGGER shares_no_delete BEFORE DELETE ON shares BEGIN SELECT RAISE(ABORT, 'shares are append-only'); END;
CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER postings_no_update BEFORE UPDATE ON postings BEGIN SELECT RAISE(ABORT, 'postings are append-only'); END;
CREATE TRIGGER postings_no_delete BEFORE DELETE ON postings BEGIN SELECT RAISE(ABORT, 'postings are append-only'); END;
CREATE TRIGGER export_records_no_update BEFORE UPDATE ON export_records BEGIN SELECT RAISE(ABORT, 'export records are append-only'); END;
CREATE TRIGGER export_records_no_delete BEFORE DELETE ON export_records BEGIN SELECT RAISE(ABORT, 'export records are append-only'); END;
CREATE TRIGGER export_lots_no_update BEFORE UPDATE ON export_lots BEGIN SELECT RAISE(ABORT, 'export lots are append-only'); END;
CREATE TRIGGER export_lots_no_delete BEFORE DELETE ON export_lots BEGIN SELECT RAISE(ABORT, 'export lots are append-only'); END;
CREATE TRIGGER export_rows_no_update BEFORE UPDATE ON export_rows BEGIN SELECT RAISE(ABORT, 'export rows are append-only'); END;
CREATE TRIGGER export_rows_no_delete BEFORE DELETE ON export_rows BEGIN SELECT RAISE(ABORT, 'export rows are append-only'); END;
