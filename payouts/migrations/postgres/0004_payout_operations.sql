-- What an operator controls: approval, cancelling, restraints, thresholds and schedules; and batches that more than one
-- transaction tries to pay. A batch's transaction moves to its first attempt.

CREATE TABLE batch_attempts (
    batch           BIGINT NOT NULL REFERENCES batches (id),
    attempt         BIGINT NOT NULL,
    txid            TEXT COLLATE "C" NOT NULL, -- a batch after a cancelled one may have the same
    psbt            BYTEA NOT NULL,
    signed          BYTEA,
    network_fee_sat BIGINT NOT NULL,
    stage           TEXT COLLATE "C" NOT NULL CHECK (stage IN ('created', 'signed', 'broadcast')),
    created_at_ms   BIGINT NOT NULL,
    PRIMARY KEY (batch, attempt),
    CHECK ((stage = 'created') = (signed IS NULL))
);

INSERT INTO batch_attempts (batch, attempt, txid, psbt, signed, network_fee_sat, stage, created_at_ms)
SELECT id, 0, txid, psbt, signed, network_fee_sat, CASE state WHEN 'confirmed' THEN 'broadcast' ELSE state END,
    created_at_ms
FROM batches;

-- Dropping a column drops the checks that name it.
ALTER TABLE batches
    DROP CONSTRAINT batches_state_check,
    DROP COLUMN txid,
    DROP COLUMN psbt,
    DROP COLUMN signed,
    DROP COLUMN network_fee_sat,
    ADD COLUMN approval TEXT COLLATE "C" NOT NULL DEFAULT 'not_needed' CHECK (approval IN ('not_needed', 'awaited', 'given')),
    ADD COLUMN attempt BIGINT, -- the one that is confirmed
    ADD COLUMN replaced_by TEXT COLLATE "C"; -- the transaction that has the coins
UPDATE batches SET
    attempt = CASE state WHEN 'confirmed' THEN 0 END,
    state = CASE state WHEN 'confirmed' THEN 'confirmed' ELSE 'open' END;
ALTER TABLE batches
    ALTER COLUMN approval DROP DEFAULT,
    ADD CHECK (state IN ('open', 'confirmed', 'cancelled', 'replaced')),
    ADD CHECK ((state = 'confirmed') = (attempt IS NOT NULL)),
    ADD CHECK ((state = 'replaced') = (replaced_by IS NOT NULL));

ALTER TABLE batch_outputs ADD COLUMN fee_sat BIGINT NOT NULL DEFAULT 0 CHECK (fee_sat BETWEEN 0 AND sat);
ALTER TABLE batch_outputs ALTER COLUMN fee_sat DROP DEFAULT;

-- Who approved, why it was cancelled, and what else is on record about a batch.
CREATE TABLE batch_events (
    batch  BIGINT NOT NULL REFERENCES batches (id),
    number BIGINT NOT NULL,
    kind   TEXT COLLATE "C" NOT NULL CHECK (kind IN ('approved', 'exported', 'cancelled', 'replaced')),
    at_ms  BIGINT NOT NULL,
    note   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (batch, number)
);

-- Transactions that are not ours and took coins of batches; the loss of each is booked once.
CREATE TABLE conflicts (
    txid     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    batch    BIGINT NOT NULL REFERENCES batches (id),
    loss_sat BIGINT NOT NULL
);

-- The history of accounts that were not paid for a while. Each row came with one entry.
CREATE TABLE restraints (
    entry     BIGINT PRIMARY KEY REFERENCES entries (seq),
    account   BIGINT NOT NULL REFERENCES accounts (id),
    restraint TEXT COLLATE "C" NOT NULL CHECK (restraint IN ('held', 'blocked')),
    number    BIGINT NOT NULL,
    act       TEXT COLLATE "C" NOT NULL CHECK (act IN ('begun', 'swept', 'ended')),
    reason    TEXT COLLATE "C" NOT NULL,
    at_ms     BIGINT NOT NULL,
    UNIQUE (account, restraint, number)
);

CREATE TABLE payout_thresholds (
    account       BIGINT PRIMARY KEY REFERENCES accounts (id),
    threshold_sat BIGINT -- nothing for the pool's
);

-- The slots of the schedule that are done with: all that was due then is in batches. The first row under a schedule is the
-- slot before it was chosen.
CREATE TABLE payout_runs (
    number   BIGINT PRIMARY KEY,
    schedule TEXT COLLATE "C" NOT NULL,
    slot_ms  BIGINT NOT NULL,
    at_ms    BIGINT NOT NULL
);

CREATE TRIGGER batch_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON batch_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE batch_events ENABLE ALWAYS TRIGGER batch_events_append_only;
CREATE TRIGGER conflicts_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON conflicts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE conflicts ENABLE ALWAYS TRIGGER conflicts_append_only;
CREATE TRIGGER restraints_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON restraints FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE restraints ENABLE ALWAYS TRIGGER restraints_append_only;
CREATE TRIGGER payout_runs_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payout_runs FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE payout_runs ENABLE ALWAYS TRIGGER payout_runs_append_only;
