-- What delivery keeps about TLS over restarts and for other workers; the texts are JSON that only delivery reads.

CREATE TABLE sts_policies (
    domain      TEXT PRIMARY KEY,
    data        TEXT NOT NULL,
    expires_at  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE tls_tallies (
    day         TEXT NOT NULL,              -- ISO 8601, UTC
    domain      TEXT NOT NULL,
    data        TEXT NOT NULL,
    PRIMARY KEY (day, domain)
) WITHOUT ROWID;
