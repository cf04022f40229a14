-- Everything the pool keeps about shares and money. Amounts are satoshis, hashes of blocks and transactions stand in
-- their usual text form (that of a share alone is in bytes), times are milliseconds since 1970 UTC unless a name says otherwise.
--
-- Tables and columns are those of the SQLite store, so that one can be copied to the other. Texts that are keys sort by
-- their bytes, whatever the server's locale is.

CREATE TABLE sessions (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at_ms BIGINT NOT NULL
);

CREATE TABLE accounts (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address       TEXT COLLATE "C" NOT NULL UNIQUE,
    script_pubkey BYTEA NOT NULL
);

CREATE TABLE shares (
    seq             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account         BIGINT NOT NULL REFERENCES accounts (id),
    worker          TEXT COLLATE "C" NOT NULL,
    channel         BIGINT NOT NULL,
    job             BIGINT NOT NULL,
    sequence_number BIGINT NOT NULL,
    difficulty_log2 BIGINT NOT NULL,
    nbits           BIGINT NOT NULL,
    header_hash     BYTEA NOT NULL UNIQUE, -- 32 bytes in internal order: the reverse of the text form
    at_ms           BIGINT NOT NULL
);

-- Answers "how much work since then, whose" from the index alone. Times grow, so it is written at its end.
CREATE INDEX shares_by_time ON shares (at_ms, account, difficulty_log2);

CREATE TABLE entries (
    seq      BIGINT PRIMARY KEY,
    kind     TEXT COLLATE "C" NOT NULL,
    key      TEXT COLLATE "C" NOT NULL,
    corrects BIGINT REFERENCES entries (seq),
    at_ms    BIGINT NOT NULL,
    digest   TEXT COLLATE "C" NOT NULL,
    previous TEXT COLLATE "C" NOT NULL UNIQUE,
    hash     TEXT COLLATE "C" NOT NULL UNIQUE,
    UNIQUE (kind, key)
);

CREATE TABLE postings (
    entry   BIGINT NOT NULL REFERENCES entries (seq),
    line    BIGINT NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    sat     BIGINT NOT NULL,
    PRIMARY KEY (entry, line)
);

-- Sums of the postings, kept with them; an audit recomputes them.
CREATE TABLE balances (
    account TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sat     BIGINT NOT NULL
);

CREATE TABLE blocks (
    hash           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    height         BIGINT NOT NULL,
    coinbase_txid  TEXT COLLATE "C" NOT NULL,
    coinbase_vout  BIGINT NOT NULL,
    value_sat      BIGINT NOT NULL,
    subsidy_sat    BIGINT NOT NULL,
    finder         BIGINT NOT NULL REFERENCES accounts (id),
    share_position BIGINT NOT NULL,
    found_at_ms    BIGINT NOT NULL,
    fee_sat        BIGINT NOT NULL,
    phase          TEXT COLLATE "C" NOT NULL CHECK (phase IN ('immature', 'matured', 'orphaned')),
    epoch          BIGINT NOT NULL
);

CREATE INDEX blocks_by_height ON blocks (height);

CREATE TABLE credits (
    block_hash TEXT COLLATE "C" NOT NULL REFERENCES blocks (hash),
    account    BIGINT NOT NULL REFERENCES accounts (id),
    sat        BIGINT NOT NULL,
    paid_sat   BIGINT NOT NULL CHECK (paid_sat BETWEEN 0 AND sat),
    PRIMARY KEY (block_hash, account)
);

CREATE INDEX credits_unpaid ON credits (account) WHERE paid_sat < sat;

CREATE TABLE batches (
    id              BIGINT PRIMARY KEY,
    txid            TEXT COLLATE "C" NOT NULL UNIQUE,
    psbt            BYTEA NOT NULL,
    signed          BYTEA,
    network_fee_sat BIGINT NOT NULL,
    state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('created', 'signed', 'broadcast', 'confirmed')),
    epoch           BIGINT NOT NULL,
    created_at_ms   BIGINT NOT NULL,
    block_hash      TEXT COLLATE "C",
    block_height    BIGINT,
    block_time_s    BIGINT,
    CHECK ((state = 'created') = (signed IS NULL)),
    CHECK ((state = 'confirmed') = (block_hash IS NOT NULL))
);

CREATE TABLE batch_outputs (
    batch   BIGINT NOT NULL REFERENCES batches (id),
    vout    BIGINT NOT NULL,
    account BIGINT NOT NULL REFERENCES accounts (id),
    sat     BIGINT NOT NULL,
    PRIMARY KEY (batch, vout),
    UNIQUE (batch, account)
);

CREATE TABLE batch_lots (
    batch      BIGINT NOT NULL,
    vout       BIGINT NOT NULL,
    line       BIGINT NOT NULL,
    block_hash TEXT COLLATE "C" NOT NULL REFERENCES blocks (hash),
    sat        BIGINT NOT NULL,
    PRIMARY KEY (batch, vout, line),
    FOREIGN KEY (batch, vout) REFERENCES batch_outputs (batch, vout)
);

CREATE TABLE export_records (
    txid          TEXT COLLATE "C" NOT NULL,
    vout          BIGINT NOT NULL,
    sat           BIGINT NOT NULL,
    account       BIGINT NOT NULL REFERENCES accounts (id),
    address       TEXT COLLATE "C" NOT NULL,
    script_pubkey BYTEA NOT NULL,
    PRIMARY KEY (txid, vout)
);

CREATE TABLE export_lots (
    txid          TEXT COLLATE "C" NOT NULL,
    vout          BIGINT NOT NULL,
    line          BIGINT NOT NULL,
    coinbase_txid TEXT COLLATE "C" NOT NULL,
    coinbase_vout BIGINT NOT NULL,
    block_hash    TEXT COLLATE "C" NOT NULL,
    sat           BIGINT NOT NULL,
    PRIMARY KEY (txid, vout, line),
    FOREIGN KEY (txid, vout) REFERENCES export_records (txid, vout)
);

CREATE TABLE export_rows (
    seq          BIGINT PRIMARY KEY,
    txid         TEXT COLLATE "C" NOT NULL,
    vout         BIGINT NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    block_hash   TEXT COLLATE "C" NOT NULL,
    block_height BIGINT NOT NULL,
    block_time_s BIGINT NOT NULL,
    entry        BIGINT NOT NULL REFERENCES entries (seq),
    entry_hash   TEXT COLLATE "C" NOT NULL,
    previous     TEXT COLLATE "C" NOT NULL UNIQUE,
    hash         TEXT COLLATE "C" NOT NULL UNIQUE,
    FOREIGN KEY (txid, vout) REFERENCES export_records (txid, vout)
);

-- The wallet's changes, in the order in which they add up.
CREATE TABLE wallet_changes (
    seq    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    change TEXT COLLATE "C" NOT NULL
);

-- Who may write: counted up by each pool that takes the lease.
CREATE TABLE lease (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    term BIGINT NOT NULL
);

INSERT INTO lease (id, term) VALUES (1, 0);

-- What was written for ever cannot be changed, not even by a mistake of ours. The triggers fire in every session, also
-- in one that replicates.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% are append-only', replace(TG_TABLE_NAME, '_', ' ');
END
$$;

CREATE TRIGGER shares_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON shares FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE shares ENABLE ALWAYS TRIGGER shares_append_only;
CREATE TRIGGER entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE entries ENABLE ALWAYS TRIGGER entries_append_only;
CREATE TRIGGER postings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON postings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE postings ENABLE ALWAYS TRIGGER postings_append_only;
CREATE TRIGGER export_records_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON export_records FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE export_records ENABLE ALWAYS TRIGGER export_records_append_only;
CREATE TRIGGER export_lots_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON export_lots FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE export_lots ENABLE ALWAYS TRIGGER export_lots_append_only;
CREATE TRIGGER export_rows_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON export_rows FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE export_rows ENABLE ALWAYS TRIGGER export_rows_append_only;
