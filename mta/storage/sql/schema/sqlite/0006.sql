-- Counts by site without reading all that waits, and bounces that are not believed yet.

-- A delivery that waits got its site when it last came back from an attempt, and enters the index then: that the site is in
-- it costs a few octets and no write.
DROP INDEX deliveries_queued;
DROP INDEX deliveries_held;
CREATE INDEX deliveries_queued ON deliveries (id, stream, account, domain, accepted_at, site, state) WHERE state = 'queued';
CREATE INDEX deliveries_held ON deliveries (id, stream, account, domain, accepted_at, site, state) WHERE state = 'held';

-- What hard bounces would do that the breaker of their site does not believe: it waits for the operator, or for the ratio
-- to be usual again. `epoch` is that of the stream's standing: a reinstated stream begins anew.
CREATE TABLE withheld (
    delivery_id TEXT PRIMARY KEY,
    site        TEXT NOT NULL,
    account     TEXT NOT NULL,
    stream      TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    address     TEXT NOT NULL,
    cause       TEXT NOT NULL,
    origin      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    expires_at  INTEGER,
    detail      TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX withheld_by_site ON withheld (site, at, delivery_id);
CREATE INDEX withheld_by_time ON withheld (at);

-- Sites whose bounces an operator believes, so that the breakers of all workers hear of it.
CREATE TABLE believed_sites (
    site        TEXT PRIMARY KEY,
    at          INTEGER NOT NULL
) WITHOUT ROWID;
