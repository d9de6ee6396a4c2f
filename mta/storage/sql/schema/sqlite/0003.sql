-- What accounts may do in a span of time: what they have used of it, whom they know, and what they submitted lately.
-- Only accounts with such a limit have rows here.

-- Uses by stretches of time (mta/accounts/allowance.py). A stretch is named by its end; it may be to come, for mail that
-- waits for its release time.
CREATE TABLE allowances (
    account     TEXT NOT NULL,
    kind        TEXT NOT NULL,              -- deliveries, or first-time recipients
    ends_at     INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,           -- of its last use
    count       INTEGER NOT NULL,
    forget_at   INTEGER NOT NULL,           -- no span reaches back to it from then on
    PRIMARY KEY (account, kind, ends_at)
) WITHOUT ROWID;

CREATE INDEX allowances_by_end ON allowances (forget_at);

-- Addresses in lower case, with the time when the account wrote to them first. Older ones are known by their deliveries.
CREATE TABLE acquaintances (
    account     TEXT NOT NULL,
    address     TEXT NOT NULL,
    since       INTEGER NOT NULL,
    PRIMARY KEY (account, address)
) WITHOUT ROWID;

CREATE INDEX acquaintances_by_time ON acquaintances (since);

-- Messages by their digest, so that one that is submitted again is not queued again. `recipient` is as in deliveries.
CREATE TABLE submissions (
    digest      BLOB NOT NULL,
    recipient   TEXT NOT NULL,
    queue_id    TEXT NOT NULL,
    forget_at   INTEGER NOT NULL,
    PRIMARY KEY (digest, recipient)
) WITHOUT ROWID;

CREATE INDEX submissions_by_end ON submissions (forget_at);
