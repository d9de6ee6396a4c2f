-- The way back: who is not written to any more, what came back, and how accounts do by it.

-- 1: a report moved the delivery from delivered to bounced.
ALTER TABLE deliveries ADD COLUMN late INTEGER NOT NULL DEFAULT 0;

-- `address` is local-part@domain as a mailbox is printed: compared exactly, the domain in lower case.
CREATE TABLE suppressions (
    account     TEXT NOT NULL,
    address     TEXT NOT NULL,
    cause       TEXT NOT NULL,
    origin      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    expires_at  INTEGER,                    -- null: it stays
    detail      TEXT NOT NULL,
    delivery_id TEXT,
    PRIMARY KEY (account, address)
) WITHOUT ROWID;

CREATE INDEX suppressions_by_address ON suppressions (address);

-- Addresses whose domain was found missing once: a domain may be gone for an hour.
CREATE TABLE suspects (
    account     TEXT NOT NULL,
    address     TEXT NOT NULL,
    first_at    INTEGER NOT NULL,
    PRIMARY KEY (account, address)
) WITHOUT ROWID;

CREATE INDEX suspects_by_time ON suspects (first_at);

-- Counts of what became of deliveries, by slots of ten minutes (mta/reputation/rates.py), folded from events as they are
-- written. `epoch` is that of the stream's standing: a reinstated stream begins anew.
CREATE TABLE tallies (
    account     TEXT NOT NULL,
    stream      TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    slot        INTEGER NOT NULL,
    delivered   INTEGER NOT NULL,
    ended       INTEGER NOT NULL,
    hard_bounced INTEGER NOT NULL,
    complained  INTEGER NOT NULL,
    PRIMARY KEY (account, stream, epoch, slot)
) WITHOUT ROWID;

CREATE INDEX tallies_by_slot ON tallies (slot);

-- The empty stream is the account as a whole.
CREATE TABLE standings (
    account     TEXT NOT NULL,
    stream      TEXT NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    since       INTEGER,
    epoch       INTEGER NOT NULL,
    by          TEXT NOT NULL,              -- who moved it; empty: the ratios
    PRIMARY KEY (account, stream)
) WITHOUT ROWID;

-- Notes of reports, and letters to postmaster and abuse.
CREATE TABLE returns (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    at          INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    delivery_id TEXT,
    queue_id    TEXT,
    account     TEXT,
    stream      TEXT,
    recipient   TEXT,
    reason      TEXT,
    hardness    TEXT,
    text        TEXT NOT NULL,
    effect      TEXT NOT NULL,
    octets      BLOB CHECK (octets IS NULL OR length(octets) <= 1048576)
);

CREATE UNIQUE INDEX returns_once ON returns (delivery_id, kind) WHERE delivery_id IS NOT NULL;
CREATE INDEX returns_by_time ON returns (at);
-- `effect` is inside for the reason that `state` is inside deliveries_due.
CREATE INDEX returns_rejected ON returns (effect, at) WHERE effect = 'rejected';
CREATE INDEX returns_letters ON returns (at) WHERE octets IS NOT NULL;

-- Deliveries that were complained of. Kept longer than the rest of what is known of them: a complaint's token has no end.
CREATE TABLE complaints (
    delivery_id TEXT PRIMARY KEY,
    at          INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX complaints_by_time ON complaints (at);

-- What is told of an address beside the story of a message; events of deliveries are not in it, and pay nothing for it.
CREATE INDEX events_about ON events (recipient) WHERE queue_id IS NULL AND recipient IS NOT NULL;
