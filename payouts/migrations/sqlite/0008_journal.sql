-- The journal of the export register: everything on record about coin that leaves which moves no satoshi by itself. A row
-- is one JSON object in canonical form; its hash is SHA-256 over the hash before it, in hexadecimal, and the object.
CREATE TABLE export_journal (
    seq      INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    subject  TEXT NOT NULL,
    body     TEXT NOT NULL,
    previous TEXT NOT NULL UNIQUE,
    hash     TEXT NOT NULL UNIQUE
) STRICT;

-- Answers "what is on record about it".
CREATE INDEX export_journal_by_subject ON export_journal (kind, subject, seq);

CREATE TRIGGER export_journal_no_update BEFORE UPDATE ON export_journal BEGIN SELECT RAISE(ABORT, 'the export journal is append-only'); END;
CREATE TRIGGER export_journal_no_delete BEFORE DELETE ON export_journal BEGIN SELECT RAISE(ABORT, 'the export journal is append-only'); END;

-- Who owns addresses: personal data, sealed with a key that is not in the database. It is erased by deleting a row; the
-- journal has only a commitment to it.
CREATE TABLE export_parties (
    id     INTEGER PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT;
