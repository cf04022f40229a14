-- The coinbase outputs that pay miners directly: vout:account=satoshis, joined by commas. Blocks recorded earlier have none.
ALTER TABLE blocks ADD COLUMN direct TEXT COLLATE "C" NOT NULL DEFAULT '';

-- What a block was split by under SLICE, frozen with it: each account's work in units of 2^-32 of difficulty, and its part
-- of the fees in units of 2^-256 of them; integers in decimal.
CREATE TABLE block_slices (
    block_hash TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES blocks (hash),
    slices     BIGINT NOT NULL
);

CREATE TABLE block_slice_parts (
    block_hash TEXT COLLATE "C" NOT NULL REFERENCES blocks (hash),
    account    BIGINT NOT NULL REFERENCES accounts (id),
    work       TEXT COLLATE "C" NOT NULL,
    fees       TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (block_hash, account)
);

CREATE TRIGGER block_slices_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON block_slices FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE block_slices ENABLE ALWAYS TRIGGER block_slices_append_only;
CREATE TRIGGER block_slice_parts_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON block_slice_parts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE block_slice_parts ENABLE ALWAYS TRIGGER block_slice_parts_append_only;
