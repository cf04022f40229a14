-- Tokens of the admin API. The hash is SHA-256 of the whole token, in hexadecimal: a token has 192 random bits, so that
-- nobody finds it by trying, however fast the hash is. A watcher sees one account alone.
CREATE TABLE api_tokens (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash            TEXT COLLATE "C" NOT NULL UNIQUE,
    label           TEXT COLLATE "C" NOT NULL,
    role            TEXT COLLATE "C" NOT NULL CHECK (role IN ('watcher', 'viewer', 'operator', 'admin')),
    account         BIGINT REFERENCES accounts (id),
    created_at_ms   BIGINT NOT NULL,
    last_used_at_ms BIGINT,
    revoked_at_ms   BIGINT,
    CHECK ((role = 'watcher') = (account IS NOT NULL))
);

-- Who did something is told by a token's label: one token in force for each.
CREATE UNIQUE INDEX api_tokens_in_force ON api_tokens (label) WHERE revoked_at_ms IS NULL;

-- What operators asked for that changes something, by the API or a command. A row is written before it is done, and its
-- outcome after: a row without one says that it was begun, and perhaps done.
CREATE TABLE audit_log (
    seq    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms  BIGINT NOT NULL,
    actor  TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL
);

CREATE TABLE audit_outcomes (
    seq     BIGINT PRIMARY KEY REFERENCES audit_log (seq),
    at_ms   BIGINT NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL
);

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_append_only;
CREATE TRIGGER audit_outcomes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_outcomes FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE audit_outcomes ENABLE ALWAYS TRIGGER audit_outcomes_append_only;

-- What was answered to a request with an Idempotency-Key: the same request again gets it again. No answer: it was begun.
CREATE TABLE api_answers (
    token         BIGINT NOT NULL REFERENCES api_tokens (id),
    key           TEXT COLLATE "C" NOT NULL,
    request       TEXT COLLATE "C" NOT NULL, -- SHA-256 over method, path and body, in hexadecimal
    created_at_ms BIGINT NOT NULL,
    status        BIGINT,
    body          TEXT COLLATE "C",
    PRIMARY KEY (token, key)
);

-- Answers "which are too old to be kept".
CREATE INDEX api_answers_by_time ON api_answers (created_at_ms);

-- Answer "what was booked of an account" and "what was paid to it", newest first.
CREATE INDEX postings_by_account ON postings (account, entry, line);
CREATE INDEX batch_outputs_by_account ON batch_outputs (account, batch);
