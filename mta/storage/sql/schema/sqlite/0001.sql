-- The queue's first schema. Times are milliseconds since 1970 UTC, spans are milliseconds, truths are 0 and 1.
-- auto_vacuum and the page size cannot be changed once a table exists: mta/storage/connect.py sets them before this runs.
-- Identifiers sort by time, so tables without rowid grow at their end; only octets and events have a rowid of their own.

CREATE TABLE messages (
    id          TEXT PRIMARY KEY,
    accepted_at INTEGER NOT NULL,
    account     TEXT NOT NULL,
    stream      TEXT NOT NULL,
    reverse_path TEXT,                      -- null: the null reverse-path
    from_domain TEXT NOT NULL,
    message_id  TEXT NOT NULL,              -- the header field's value
    size        INTEGER NOT NULL,
    checksum    BLOB NOT NULL,
    body_hash   BLOB NOT NULL,
    topic       TEXT,
    tag         TEXT,
    pool        TEXT,
    metadata    TEXT,
    body_type   TEXT NOT NULL,
    smtputf8    INTEGER NOT NULL,
    requiretls  INTEGER NOT NULL,
    ret         TEXT,
    envid       TEXT,
    release_at  INTEGER,
    expires_at  INTEGER,
    final_at    INTEGER,                    -- when the last delivery became final
    has_content INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX messages_by_message_id ON messages (message_id);
CREATE INDEX messages_final ON messages (final_at) WHERE final_at IS NOT NULL;
CREATE INDEX messages_body_kept ON messages (final_at) WHERE final_at IS NOT NULL AND has_content = 1;

-- Piece 0 is the header section, the others are the body in rows of at most 256 KB.
CREATE TABLE contents (
    queue_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    piece    INTEGER NOT NULL,
    octets   BLOB NOT NULL,
    PRIMARY KEY (queue_id, piece)
);

-- Account, stream, pool and times are repeated from the message, so that claims need no join to be fair.
CREATE TABLE deliveries (
    id          TEXT PRIMARY KEY,
    queue_id    TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    account     TEXT NOT NULL,
    stream      TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    recipient   TEXT NOT NULL,
    domain      TEXT NOT NULL,
    notify      TEXT NOT NULL,
    orcpt       TEXT,
    return_path TEXT,
    state       TEXT NOT NULL CHECK (state IN
        ('queued', 'active', 'held', 'delivered', 'bounced', 'expired', 'suppressed', 'cancelled')),
    due_at      INTEGER NOT NULL,
    release_at  INTEGER,
    expires_at  INTEGER,
    attempts    INTEGER NOT NULL,
    pool        TEXT,
    site        TEXT,
    source      TEXT,
    owner       INTEGER,                    -- the worker that leases it
    lease_until INTEGER,
    hold_reason TEXT,
    held_since  INTEGER,
    held_for    INTEGER NOT NULL,
    delay_noticed INTEGER NOT NULL,
    reply_code  INTEGER,
    reply_status TEXT,
    reply_text  TEXT,
    reply_host  TEXT,
    final_at    INTEGER,
    CHECK ((state = 'active') = (owner IS NOT NULL)),
    CHECK ((state = 'active') = (lease_until IS NOT NULL))
) WITHOUT ROWID;

-- The domain is inside, so that a claim passes over a domain without reading its rows; the state, because SQLite takes
-- no index for a covering one that lacks a column of its own condition.
CREATE INDEX deliveries_due ON deliveries (due_at, id, domain, state) WHERE state = 'queued';
CREATE INDEX deliveries_leased ON deliveries (lease_until, id, domain, state) WHERE state = 'active';
CREATE INDEX deliveries_held ON deliveries (id, domain, state) WHERE state = 'held';
CREATE INDEX deliveries_by_message ON deliveries (queue_id, state);
CREATE INDEX deliveries_by_recipient ON deliveries (recipient);

-- `seq` is the order of commits, which readers that follow the log go by: two workers' identifiers may cross.
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    at          INTEGER NOT NULL,
    type        TEXT NOT NULL,
    account     TEXT,
    stream      TEXT,
    queue_id    TEXT,
    delivery_id TEXT,
    recipient   TEXT,
    data        TEXT NOT NULL               -- the whole event, as mta/events_json.py writes it
);

CREATE INDEX events_by_message ON events (queue_id);

CREATE TABLE workers (
    seq         INTEGER PRIMARY KEY,        -- the order in which numbers were given
    number      INTEGER NOT NULL UNIQUE,
    pid         INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    ended_at    INTEGER
);

-- Accounts made by command; `data` is JSON with the same keys as an [[account]] of the configuration.
CREATE TABLE accounts (
    name        TEXT PRIMARY KEY,
    data        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit (
    id          TEXT PRIMARY KEY,
    at          INTEGER NOT NULL,
    who         TEXT NOT NULL,
    action      TEXT NOT NULL,
    target      TEXT NOT NULL,
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL
) WITHOUT ROWID;

-- What operators see of a delivery and its message.
CREATE VIEW queue_rows AS
SELECT d.id, d.queue_id, d.account, d.stream, d.accepted_at, d.recipient, d.domain, d.state, d.due_at, d.attempts,
       d.pool, d.site, d.source, d.owner, d.lease_until, d.hold_reason, d.held_since, d.held_for, d.return_path,
       d.reply_code, d.reply_status, d.reply_text, d.reply_host, d.final_at, d.release_at, d.expires_at,
       m.message_id, m.reverse_path, m.size, m.tag, m.metadata
FROM deliveries AS d JOIN messages AS m ON m.id = d.queue_id;
