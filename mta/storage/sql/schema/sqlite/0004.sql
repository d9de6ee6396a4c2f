-- A queue of a million waiting deliveries: claims that are fair by lanes, counts that are kept, octets without an index.

-- What waits is in three orders. Only waiting deliveries pay for them: one that is accepted leased and delivered at once
-- is in none of them. `state` is inside each, because SQLite takes no index for a covering one that lacks a column of its
-- own condition.
DROP INDEX deliveries_due;
DROP INDEX deliveries_leased;
DROP INDEX deliveries_held;
-- A lane's deliveries as they become due; the domain is inside, so that a claim passes over it without reading its rows.
CREATE INDEX deliveries_due ON deliveries (stream, account, due_at, id, domain, state) WHERE state = 'queued';
-- A lane's deliveries to one domain: what was passed over is found again without walking the lane.
CREATE INDEX deliveries_due_to ON deliveries (stream, account, domain, due_at, id, state) WHERE state = 'queued';
-- In the order of acceptance, for lists, ages and expiry.
CREATE INDEX deliveries_queued ON deliveries (id, stream, account, domain, accepted_at, state) WHERE state = 'queued';
CREATE INDEX deliveries_expiring ON deliveries (expires_at, id, stream, account, state)
    WHERE state = 'queued' AND expires_at IS NOT NULL;
-- Every delivery comes through here, so it has no more in it than what finds a lease: few are read by it.
CREATE INDEX deliveries_leased ON deliveries (lease_until, owner, state) WHERE state = 'active';
CREATE INDEX deliveries_held ON deliveries (id, stream, account, domain, accepted_at, state) WHERE state = 'held';

-- How many deliveries are open, kept by the database itself in whatever transaction moves one.
CREATE TABLE open_counts (
    state       TEXT PRIMARY KEY,
    count       INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO open_counts (state, count)
SELECT 'queued', count(*) FROM deliveries WHERE state = 'queued'
UNION ALL SELECT 'active', count(*) FROM deliveries WHERE state = 'active'
UNION ALL SELECT 'held', count(*) FROM deliveries WHERE state = 'held';

CREATE TRIGGER deliveries_counted_in AFTER INSERT ON deliveries BEGIN
    UPDATE open_counts SET count = count + 1 WHERE state = NEW.state;
END;
CREATE TRIGGER deliveries_counted_over AFTER UPDATE OF state ON deliveries WHEN OLD.state <> NEW.state BEGIN
    UPDATE open_counts SET count = count - 1 WHERE state = OLD.state;
    UPDATE open_counts SET count = count + 1 WHERE state = NEW.state;
END;
CREATE TRIGGER deliveries_counted_out AFTER DELETE ON deliveries BEGIN
    UPDATE open_counts SET count = count - 1 WHERE state = OLD.state;
END;

-- Octets by number: a message names its first row and how many there are. The header section stands at the beginning of
-- the first row, small bodies behind it. A number is used again once the row of the highest one is gone, so a message
-- that loses its octets forgets their numbers in the same transaction.
ALTER TABLE messages ADD COLUMN content_at INTEGER;         -- null: its octets are gone
ALTER TABLE messages ADD COLUMN pieces INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN header_size INTEGER NOT NULL DEFAULT 0;

CREATE TABLE octets (
    id          INTEGER PRIMARY KEY,
    octets      BLOB NOT NULL
);

CREATE TEMP TABLE numbered AS SELECT queue_id, piece, row_number() OVER (ORDER BY queue_id, piece) AS id FROM contents;
CREATE INDEX temp.numbered_by_message ON numbered (queue_id, piece);
INSERT INTO octets (id, octets)
    SELECT n.id, c.octets FROM numbered AS n JOIN contents AS c ON c.queue_id = n.queue_id AND c.piece = n.piece
    ORDER BY n.id;
UPDATE messages SET
    content_at = (SELECT n.id FROM numbered AS n WHERE n.queue_id = messages.id AND n.piece = 0),
    pieces = (SELECT count(*) FROM numbered AS n WHERE n.queue_id = messages.id),
    header_size = coalesce((SELECT length(c.octets) FROM contents AS c WHERE c.queue_id = messages.id AND c.piece = 0), 0)
WHERE has_content = 1;
DROP TABLE numbered;
DROP TABLE contents;
ALTER TABLE octets RENAME TO contents;

DROP INDEX messages_body_kept;
ALTER TABLE messages DROP COLUMN has_content;
CREATE INDEX messages_body_kept ON messages (final_at) WHERE final_at IS NOT NULL AND content_at IS NOT NULL;

-- What an operator does not want delivered for now.
CREATE TABLE pauses (
    id          TEXT PRIMARY KEY,
    scope       TEXT NOT NULL CHECK (scope IN ('all', 'account', 'stream', 'site')),
    value       TEXT NOT NULL,              -- empty for all
    reason      TEXT NOT NULL,
    who         TEXT NOT NULL,
    at          INTEGER NOT NULL,
    UNIQUE (scope, value)
) WITHOUT ROWID;

-- Sites that a worker leaves alone for a while, so that others and operators see it.
CREATE TABLE site_rests (
    site        TEXT PRIMARY KEY,
    until       INTEGER NOT NULL,
    failures    INTEGER NOT NULL,
    reason      TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX site_rests_by_end ON site_rests (until);
