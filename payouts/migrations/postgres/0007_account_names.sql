-- The names of accounts. A name belongs to the account that had it first, for ever, in use or not: a miner who still uses
-- one that was removed is refused, and never works for somebody else.
CREATE TABLE account_names (
    name          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account       BIGINT NOT NULL REFERENCES accounts (id),
    is_in_use     BIGINT NOT NULL CHECK (is_in_use IN (0, 1)),
    changed_at_ms BIGINT NOT NULL
);

-- An account has one name at a time.
CREATE UNIQUE INDEX account_names_in_use ON account_names (account) WHERE is_in_use = 1;

CREATE TRIGGER account_names_append_only BEFORE UPDATE OF name, account OR DELETE OR TRUNCATE ON account_names FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE account_names ENABLE ALWAYS TRIGGER account_names_append_only;
