-- What accounts wish, what goes through the reserve of PPS, deposits, and what entries follow from.

-- What an entry follows from; its hash covers it. Entries posted earlier have none (NULL), and hashes of their own kind.
ALTER TABLE entries ADD COLUMN facts TEXT COLLATE "C";

-- The part of a block that goes to the reserve, out of which work is paid whatever is found.
ALTER TABLE blocks ADD COLUMN reserve_sat BIGINT NOT NULL DEFAULT 0;

-- What accounts asked for, one version after the other. A version holds for what is paid for shares up to
-- from_position or any later one, until the next.
CREATE TABLE account_settings (
    account       BIGINT NOT NULL REFERENCES accounts (id),
    number        BIGINT NOT NULL,
    from_position BIGINT NOT NULL,
    mines         TEXT COLLATE "C" NOT NULL CHECK (mines IN ('pool', 'solo')),
    donate_bp     BIGINT NOT NULL,
    donate_to     BIGINT REFERENCES accounts (id),
    set_at_ms     BIGINT NOT NULL,
    PRIMARY KEY (account, number),
    CHECK ((donate_bp = 0) = (donate_to IS NULL))
);

-- Over whom a version divides what the account earns, after the donation.
CREATE TABLE account_parts (
    account     BIGINT NOT NULL,
    number      BIGINT NOT NULL,
    beneficiary BIGINT NOT NULL REFERENCES accounts (id),
    weight      BIGINT NOT NULL,
    PRIMARY KEY (account, number, beneficiary),
    FOREIGN KEY (account, number) REFERENCES account_settings (account, number)
);

-- Stretches of the share log that the reserve pays for: behind after_position, up to upto_position. The last one is open
-- as long as it has no end. An entry credits it; from then on nothing of it changes.
CREATE TABLE credit_periods (
    number         BIGINT PRIMARY KEY,
    scheme         TEXT COLLATE "C" NOT NULL,
    after_position BIGINT NOT NULL,
    from_ms        BIGINT NOT NULL,
    upto_position  BIGINT,
    upto_ms        BIGINT,
    fees_sat       BIGINT, -- the network's fees over its subsidies, by which it was credited
    subsidies_sat  BIGINT,
    entry          BIGINT REFERENCES entries (seq),
    CHECK ((upto_position IS NULL) = (upto_ms IS NULL)),
    CHECK (entry IS NULL OR (upto_position IS NOT NULL AND fees_sat IS NOT NULL AND subsidies_sat IS NOT NULL))
);

-- The work of a credited period, in units of 2^-32 of difficulty, as decimal text.
CREATE TABLE period_work (
    period      BIGINT NOT NULL REFERENCES credit_periods (number),
    account     BIGINT NOT NULL REFERENCES accounts (id),
    nbits       BIGINT NOT NULL,
    subsidy_sat BIGINT NOT NULL,
    work        TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (period, account, nbits, subsidy_sat)
);

-- What that work came to. The fractions, in and out, are exact, as decimal text.
CREATE TABLE period_earnings (
    period      BIGINT NOT NULL REFERENCES credit_periods (number),
    account     BIGINT NOT NULL REFERENCES accounts (id),
    carried_in  TEXT COLLATE "C" NOT NULL,
    earned_sat  BIGINT NOT NULL,
    carried_out TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (period, account)
);

CREATE INDEX period_earnings_by_account ON period_earnings (account, period);

-- The coins behind the reserve, in the order in which they came to it.
CREATE TABLE reserve_lots (
    number     BIGINT PRIMARY KEY,
    source     TEXT COLLATE "C" NOT NULL CHECK (source IN ('block', 'fee', 'deposit')),
    txid       TEXT COLLATE "C" NOT NULL,
    vout       BIGINT NOT NULL,
    block_hash TEXT COLLATE "C" NOT NULL,
    sat        BIGINT NOT NULL,
    taken_sat  BIGINT NOT NULL CHECK (taken_sat BETWEEN 0 AND sat),
    is_void    BIGINT NOT NULL CHECK (is_void IN (0, 1)) -- its block is not mature any more
);

CREATE INDEX reserve_lots_by_output ON reserve_lots (txid, vout);

-- The coins that a period's credits were given from. They sum to the credits.
CREATE TABLE period_lots (
    period      BIGINT NOT NULL REFERENCES credit_periods (number),
    account     BIGINT NOT NULL REFERENCES accounts (id),
    line        BIGINT NOT NULL,
    sat         BIGINT NOT NULL,
    paid_sat    BIGINT NOT NULL CHECK (paid_sat BETWEEN 0 AND sat),
    reserve_lot BIGINT NOT NULL REFERENCES reserve_lots (number),
    PRIMARY KEY (period, account, line)
);

CREATE INDEX period_lots_unpaid ON period_lots (account) WHERE paid_sat < sat;

-- The pieces of period_lots that payments took; those of block credits are in batch_lots. Lines count through both.
CREATE TABLE batch_period_lots (
    batch       BIGINT NOT NULL,
    vout        BIGINT NOT NULL,
    line        BIGINT NOT NULL,
    period      BIGINT NOT NULL,
    account     BIGINT NOT NULL,
    period_line BIGINT NOT NULL,
    sat         BIGINT NOT NULL,
    PRIMARY KEY (batch, vout, line),
    FOREIGN KEY (batch, vout) REFERENCES batch_outputs (batch, vout),
    FOREIGN KEY (period, account, period_line) REFERENCES period_lots (period, account, line)
);

-- The period and its line that a piece comes from; NULL if it is of a block's credit.
ALTER TABLE export_lots ADD COLUMN period BIGINT;
ALTER TABLE export_lots ADD COLUMN period_line BIGINT;

-- Coins that came to the pool and that no coinbase or change of its own made.
CREATE TABLE deposits (
    txid        TEXT COLLATE "C" NOT NULL,
    vout        BIGINT NOT NULL,
    sat         BIGINT NOT NULL,
    block_hash  TEXT COLLATE "C" NOT NULL,
    epoch       BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('booked', 'gone')),
    reserve_sat BIGINT NOT NULL, -- what of it was given to the reserve, and what to the fee
    fee_sat     BIGINT NOT NULL,
    booked_seq  BIGINT NOT NULL, -- the entry that booked it first: its place in line
    PRIMARY KEY (txid, vout),
    CHECK (reserve_sat >= 0 AND fee_sat >= 0 AND reserve_sat + fee_sat <= sat)
);

-- What the network's blocks paid, asked once of each that is deep enough to stay.
CREATE TABLE network_blocks (
    height        BIGINT PRIMARY KEY,
    hash          TEXT COLLATE "C" NOT NULL,
    time_s        BIGINT NOT NULL,
    median_time_s BIGINT NOT NULL,
    subsidy_sat   BIGINT NOT NULL,
    fees_sat      BIGINT NOT NULL
);

-- What was written for ever cannot be changed.
CREATE TRIGGER account_settings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON account_settings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE account_settings ENABLE ALWAYS TRIGGER account_settings_append_only;
CREATE TRIGGER account_parts_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON account_parts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE account_parts ENABLE ALWAYS TRIGGER account_parts_append_only;
CREATE TRIGGER period_work_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON period_work FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE period_work ENABLE ALWAYS TRIGGER period_work_append_only;
CREATE TRIGGER period_earnings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON period_earnings FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE period_earnings ENABLE ALWAYS TRIGGER period_earnings_append_only;
