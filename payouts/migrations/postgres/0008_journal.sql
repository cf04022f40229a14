-- The journal of the export register: everything on record about coin that leaves which moves no satoshi by itself. A row
-- is one JSON object in canonical form; its hash is SHA-256 over the hash before it, in hexadecimal, and the object.
CREATE TABLE export_journal (
    seq      BIGINT PRIMARY KEY,
    kind     TEXT COLLATE "C" NOT NULL,
    subject  TEXT COLLATE "C" NOT NULL,
    body     TEXT COLLATE "C" NOT NULL,
    previous TEXT COLLATE "C" NOT NULL UNIQUE,
    hash     TEXT COLLATE "C" NOT NULL UNIQUE
);

-- Answers "what is on record about it".
CREATE INDEX export_journal_by_subject ON export_journal (kind, subject, seq);

CREATE TRIGGER export_journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON export_journal FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE export_journal ENABLE ALWAYS TRIGGER export_journal_append_only;

-- Who owns addresses: personal data, sealed with a key that is not in the database. It is erased by deleting a row; the
-- journal has only a commitment to it.
CREATE TABLE export_parties (
    id     BIGINT PRIMARY KEY,
    sealed BYTEA NOT NULL
);
