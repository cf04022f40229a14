-- Answers "what was recorded of payments to an account".
CREATE INDEX export_records_by_account ON export_records (account);
