-- The coinbase outputs that pay miners directly: vout:account=satoshis, joined by commas. Blocks recorded earlier have none.
ALTER TABLE blocks ADD COLUMN direct TEXT NOT NULL DEFAULT '';

-- What a block was split by under SLICE, frozen with it: each account's work in units of 2^-32 of difficulty, and its part
-- of the fees in units of 2^-256 of them; integers in decimal.
CREATE TABLE block_slices (
    block_hash TEXT NOT NULL PRIMARY KEY REFERENCES blocks (hash),
    slices     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE block_slice_parts (
    block_hash TEXT NOT NULL REFERENCES blocks (hash),
    account    INTEGER NOT NULL REFERENCES accounts (id),
    work       TEXT NOT NULL,
    fees       TEXT NOT NULL,
    PRIMARY KEY (block_hash, account)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER block_slices_no_update BEFORE UPDATE ON block_slices BEGIN SELECT RAISE(ABORT, 'block slices are append-only'); END;
CREATE TRIGGER block_slices_no_delete BEFORE DELETE ON block_slices BEGIN SELECT RAISE(ABORT, 'block slices are append-only'); END;
CREATE TRIGGER block_slice_parts_no_update BEFORE UPDATE ON block_slice_parts BEGIN SELECT RAISE(ABORT, 'block slice parts are append-only'); END;
CREATE TRIGGER block_slice_parts_no_delete BEFORE DELETE ON block_slice_parts BEGIN SELECT RAISE(ABORT, 'block slice parts are append-only'); END;
