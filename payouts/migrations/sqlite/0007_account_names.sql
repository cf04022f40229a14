-- The names of accounts. A name belongs to the account that had it first, for ever, in use or not: a miner who still uses
-- one that was removed is refused, and never works for somebody else.
CREATE TABLE account_names (
    name          TEXT NOT NULL PRIMARY KEY,
    account       INTEGER NOT NULL REFERENCES accounts (id),
    is_in_use     INTEGER NOT NULL CHECK (is_in_use IN (0, 1)),
    changed_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An account has one name at a time.
CREATE UNIQUE INDEX account_names_in_use ON account_names (account) WHERE is_in_use = 1;

CREATE TRIGGER account_names_no_move BEFORE UPDATE OF name, account ON account_names BEGIN SELECT RAISE(ABORT, 'account names are append-only'); END;
CREATE TRIGGER account_names_no_delete BEFORE DELETE ON account_names BEGIN SELECT RAISE(ABORT, 'account names are append-only'); END;
