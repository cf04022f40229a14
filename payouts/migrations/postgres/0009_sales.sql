-- The pieces of the pool's own coin, out of its fee, that deliveries of sales took; those of credits are in batch_lots and
-- batch_period_lots. Lines count through all of them.
CREATE TABLE batch_fee_lots (
    batch         BIGINT NOT NULL,
    vout          BIGINT NOT NULL,
    line          BIGINT NOT NULL,
    coinbase_txid TEXT COLLATE "C" NOT NULL,
    coinbase_vout BIGINT NOT NULL,
    block_hash    TEXT COLLATE "C" NOT NULL,
    sat           BIGINT NOT NULL CHECK (sat > 0),
    PRIMARY KEY (batch, vout, line),
    FOREIGN KEY (batch, vout) REFERENCES batch_outputs (batch, vout)
);

-- 1 for a lot of the pool's own coin.
ALTER TABLE export_lots ADD COLUMN of_fee BIGINT NOT NULL DEFAULT 0;
