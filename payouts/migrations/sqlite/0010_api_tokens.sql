-- Tokens of the admin API. The hash is SHA-256 of the whole token, in hexadecimal: a token has 192 random bits, so that
-- nobody finds it by trying, however fast the hash is. A watcher sees one account alone.
CREATE TABLE api_tokens (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    hash            TEXT NOT NULL UNIQUE,
    label           TEXT NOT NULL,
    role            TEXT NOT NULL CHECK (role IN ('watcher', 'viewer', 'operator', 'admin')),
    account         INTEGER REFERENCES accounts (id),
    created_at_ms   INTEGER NOT NULL,
    last_used_at_ms INTEGER,
    revoked_at_ms   INTEGER,
    CHECK ((role = 'watcher') = (account IS NOT NULL))
) STRICT;

-- Who did something is told by a token's label: one token in force for each.
CREATE UNIQUE INDEX api_tokens_in_force ON api_tokens (label) WHERE revoked_at_ms IS NULL;

-- What operators asked for that changes something, by the API or a command. A row is written before it is done, and its
-- outcome after: a row without one says that it was begun, and perhaps done.
CREATE TABLE audit_log (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms  INTEGER NOT NULL,
    actor  TEXT NOT NULL,
    action TEXT NOT NULL
) STRICT;

CREATE TABLE audit_outcomes (
    seq     INTEGER PRIMARY KEY REFERENCES audit_log (seq),
    at_ms   INTEGER NOT NULL,
    outcome TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_outcomes_no_update BEFORE UPDATE ON audit_outcomes BEGIN SELECT RAISE(ABORT, 'audit outcomes are append-only'); END;
CREATE TRIGGER audit_outcomes_no_delete BEFORE DELETE ON audit_outcomes BEGIN SELECT RAISE(ABORT, 'audit outcomes are append-only'); END;

-- What was answered to a request with an Idempotency-Key: the same request again gets it again. No answer: it was begun.
CREATE TABLE api_answers (
    token         INTEGER NOT NULL REFERENCES api_tokens (id),
    key           TEXT NOT NULL,
    request       TEXT NOT NULL, -- SHA-256 over method, path and body, in hexadecimal
    created_at_ms INTEGER NOT NULL,
    status        INTEGER,
    body          TEXT,
    PRIMARY KEY (token, key)
) STRICT, WITHOUT ROWID;

-- Answers "which are too old to be kept".
CREATE INDEX api_answers_by_time ON api_answers (created_at_ms);

-- Answer "what was booked of an account" and "what was paid to it", newest first.
CREATE INDEX postings_by_account ON postings (account, entry, line);
CREATE INDEX batch_outputs_by_account ON batch_outputs (account, batch);
