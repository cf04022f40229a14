-- Who may see an account's page; an account without a row shows it to everybody.
CREATE TABLE page_audiences (
    account   INTEGER PRIMARY KEY REFERENCES accounts (id),
    audience  TEXT NOT NULL CHECK (audience IN ('public', 'watchers')),
    set_at_ms INTEGER NOT NULL
) STRICT;

-- Answer "what was credited to an account", "which batch made this transaction" and "what the register has of this output".
CREATE INDEX credits_by_account ON credits (account, block_hash);
CREATE INDEX batch_attempts_by_txid ON batch_attempts (txid);
CREATE INDEX export_rows_by_output ON export_rows (txid, vout);
