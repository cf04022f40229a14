-- The pieces of the pool's own coin, out of its fee, that deliveries of sales took; those of credits are in batch_lots and
-- batch_period_lots. Lines count through all of them.
CREATE TABLE batch_fee_lots (
    batch         INTEGER NOT NULL,
    vout          INTEGER NOT NULL,
    line          INTEGER NOT NULL,
    coinbase_txid TEXT NOT NULL,
    coinbase_vout INTEGER NOT NULL,
    block_hash    TEXT NOT NULL,
    sat           INTEGER NOT NULL CHECK (sat > 0),
    PRIMARY KEY (batch, vout, line),
    FOREIGN KEY (batch, vout) REFERENCES batch_outputs (batch, vout)
) STRICT, WITHOUT ROWID;

-- 1 for a lot of the pool's own coin.
ALTER TABLE export_lots ADD COLUMN of_fee INTEGER NOT NULL DEFAULT 0;
