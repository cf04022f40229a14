-- What accounts wish, what goes through the reserve of PPS, deposits, and what entries follow from.

-- What an entry follows from; its hash covers it. Entries posted earlier have none (NULL), and hashes of their own kind.
ALTER TABLE entries ADD COLUMN facts TEXT;

-- The part of a block that goes to the reserve, out of which work is paid whatever is found.
ALTER TABLE blocks ADD COLUMN reserve_sat INTEGER NOT NULL DEFAULT 0;

-- What accounts asked for, one version after the other. A version holds for what is paid for shares up to
-- from_position or any later one, until the next.
CREATE TABLE account_settings (
    account       INTEGER NOT NULL REFERENCES accounts (id),
    number        INTEGER NOT NULL,
    from_position INTEGER NOT NULL,
    mines         TEXT NOT NULL CHECK (mines IN ('pool', 'solo')),
    donate_bp     INTEGER NOT NULL,
    donate_to     INTEGER REFERENCES accounts (id),
    set_at_ms     INTEGER NOT NULL,
    PRIMARY KEY (account, number),
    CHECK ((donate_bp = 0) = (donate_to IS NULL))
) STRICT, WITHOUT ROWID;

-- Over whom a version divides what the account earns, after the donation.
CREATE TABLE account_parts (
    account     INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    beneficiary INTEGER NOT NULL REFERENCES accounts (id),
    weight      INTEGER NOT NULL,
    PRIMARY KEY (account, number, beneficiary),
    FOREIGN KEY (account, number) REFERENCES account_settings (account, number)
) STRICT, WITHOUT ROWID;

-- Stretches of the share log that the reserve pays for: behind after_position, up to upto_position. The last one is open
-- as long as it has no end. An entry credits it; from then on nothing of it changes.
CREATE TABLE credit_periods (
    number         INTEGER PRIMARY KEY,
    scheme         TEXT NOT NULL,
    after_position INTEGER NOT NULL,
    from_ms        INTEGER NOT NULL,
    upto_position  INTEGER,
    upto_ms        INTEGER,
    fees_sat       INTEGER, -- the network's fees over its subsidies, by which it was credited
    subsidies_sat  INTEGER,
    entry          INTEGER REFERENCES entries (seq),
    CHECK ((upto_position IS NULL) = (upto_ms IS NULL)),
    CHECK (entry IS NULL OR (upto_position IS NOT NULL AND fees_sat IS NOT NULL AND subsidies_sat IS NOT NULL))
) STRICT;

-- The work of a credited period, in units of 2^-32 of difficulty, as decimal text.
CREATE TABLE period_work (
    period      INTEGER NOT NULL REFERENCES credit_periods (number),
    account     INTEGER NOT NULL REFERENCES accounts (id),
    nbits       INTEGER NOT NULL,
    subsidy_sat INTEGER NOT NULL,
    work        TEXT NOT NULL,
    PRIMARY KEY (period, account, nbits, subsidy_sat)
) STRICT, WITHOUT ROWID;

-- What that work came to. The fractions, in and out, are exact, as decimal text.
CREATE TABLE period_earnings (
    period      INTEGER NOT NULL REFERENCES credit_periods (number),
    account     INTEGER NOT NULL REFERENCES accounts (id),
    carried_in  TEXT NOT NULL,
    earned_sat  INTEGER NOT NULL,
    carried_out TEXT NOT NULL,
    PRIMARY KEY (period, account)
) STRICT, WITHOUT ROWID;

CREATE INDEX period_earnings_by_account ON period_earnings (account, period);

-- The coins behind the reserve, in the order in which they came to it.
CREATE TABLE reserve_lots (
    number     INTEGER PRIMARY KEY,
    source     TEXT NOT NULL CHECK (source IN ('block', 'fee', 'deposit')),
    txid       TEXT NOT NULL,
    vout       INTEGER NOT NULL,
    block_hash TEXT NOT NULL,
    sat        INTEGER NOT NULL,
    taken_sat  INTEGER NOT NULL CHECK (taken_sat BETWEEN 0 AND sat),
    is_void    INTEGER NOT NULL CHECK (is_void IN (0, 1)) -- its block is not mature any more
) STRICT;

CREATE INDEX reserve_lots_by_output ON reserve_lots (txid, vout);

-- The coins that a period's credits were given from. They sum to the credits.
CREATE TABLE period_lots (
    period      INTEGER NOT NULL REFERENCES credit_periods (number),
    account     INTEGER NOT NULL REFERENCES accounts (id),
    line        INTEGER NOT NULL,
    sat         INTEGER NOT NULL,
    paid_sat    INTEGER NOT NULL CHECK (paid_sat BETWEEN 0 AND sat),
    reserve_lot INTEGER NOT NULL REFERENCES reserve_lots (number),
    PRIMARY KEY (period, account, line)
) STRICT, WITHOUT ROWID;

CREATE INDEX period_lots_unpaid ON period_lots (account) WHERE paid_sat < sat;

-- The pieces of period_lots that payments took; those of block credits are in batch_lots. Lines count through both.
CREATE TABLE batch_period_lots (
    batch       INTEGER NOT NULL,
    vout        INTEGER NOT NULL,
    line        INTEGER NOT NULL,
    period      INTEGER NOT NULL,
    account     INTEGER NOT NULL,
    period_line INTEGER NOT NULL,
    sat         INTEGER NOT NULL,
    PRIMARY KEY (batch, vout, line),
    FOREIGN KEY (batch, vout) REFERENCES batch_outputs (batch, vout),
    FOREIGN KEY (period, account, period_line) REFERENCES period_lots (period, account, line)
) STRICT, WITHOUT ROWID;

-- The period and its line that a piece comes from; NULL if it is of a block's credit.
ALTER TABLE export_lots ADD COLUMN period INTEGER;
ALTER TABLE export_lots ADD COLUMN period_line INTEGER;

-- Coins that came to the pool and that no coinbase or change of its own made.
CREATE TABLE deposits (
    txid        TEXT NOT NULL,
    vout        INTEGER NOT NULL,
    sat         INTEGER NOT NULL,
    block_hash  TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('booked', 'gone')),
    reserve_sat INTEGER NOT NULL, -- what of it was given to the reserve, and what to the fee
    fee_sat     INTEGER NOT NULL,
    booked_seq  INTEGER NOT NULL, -- the entry that booked it first: its place in line
    PRIMARY KEY (txid, vout),
    CHECK (reserve_sat >= 0 AND fee_sat >= 0 AND reserve_sat + fee_sat <= sat)
) STRICT, WITHOUT ROWID;

-- What the network's blocks paid, asked once of each that is deep enough to stay.
CREATE TABLE network_blocks (
    height        INTEGER PRIMARY KEY,
    hash          TEXT NOT NULL,
    time_s        INTEGER NOT NULL,
    median_time_s INTEGER NOT NULL,
    subsidy_sat   INTEGER NOT NULL,
    fees_sat      INTEGER NOT NULL
) STRICT;

-- What was written for ever cannot be changed.
CREATE TRIGGER account_settings_no_update BEFORE UPDATE ON account_settings BEGIN SELECT RAISE(ABORT, 'account settings are append-only'); END;
CREATE TRIGGER account_settings_no_delete BEFORE DELETE ON account_settings BEGIN SELECT RAISE(ABORT, 'account settings are append-only'); END;
CREATE TRIGGER account_parts_no_update BEFORE UPDATE ON account_parts BEGIN SELECT RAISE(ABORT, 'account parts are append-only'); END;
CREATE TRIGGER account_parts_no_delete BEFORE DELETE ON account_parts BEGIN SELECT RAISE(ABORT, 'account parts are append-only'); END;
CREATE TRIGGER period_work_no_update BEFORE UPDATE ON period_work BEGIN SELECT RAISE(ABORT, 'period work are append-only'); END;
CREATE TRIGGER period_work_no_delete BEFORE DELETE ON period_work BEGIN SELECT RAISE(ABORT, 'period work are append-only'); END;
CREATE TRIGGER period_earnings_no_update BEFORE UPDATE ON period_earnings BEGIN SELECT RAISE(ABORT, 'period earnings are append-only'); END;
CREATE TRIGGER period_earnings_no_delete BEFORE DELETE ON period_earnings BEGIN SELECT RAISE(ABORT, 'period earnings are append-only'); END;
