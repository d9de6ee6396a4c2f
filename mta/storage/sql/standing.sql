-- How accounts do: counts by slot, and standings.

-- name: add_tally
-- Add to the counts of a stream's epoch.
INSERT INTO tallies (account, stream, epoch, slot, delivered, ended, hard_bounced, complained)
VALUES (:account, :stream,
        coalesce((SELECT epoch FROM standings WHERE account = :account AND stream = :stream), 0),
        :slot, :delivered, :ended, :hard_bounced, :complained)
ON CONFLICT (account, stream, epoch, slot) DO UPDATE SET
    delivered = delivered + excluded.delivered, ended = ended + excluded.ended,
    hard_bounced = hard_bounced + excluded.hard_bounced, complained = complained + excluded.complained

-- name: slots
-- Read the counts of one epoch of a stream.
SELECT slot, delivered, ended, hard_bounced, complained FROM tallies
WHERE account = :account AND stream = :stream AND epoch = :epoch AND slot >= :since ORDER BY slot

-- name: slots_of_streams
-- Read the counts of several streams together, each in its own epoch.
SELECT t.slot, sum(t.delivered) AS delivered, sum(t.ended) AS ended, sum(t.hard_bounced) AS hard_bounced,
       sum(t.complained) AS complained
FROM json_each(:streams) AS wanted
JOIN tallies AS t ON t.account = :account AND t.stream = wanted.value
    AND t.epoch = coalesce((SELECT epoch FROM standings WHERE account = :account AND stream = wanted.value), 0)
    AND t.slot >= :since
GROUP BY t.slot ORDER BY t.slot

-- name: purge_tallies
-- Forget counts that no window reaches any more.
DELETE FROM tallies WHERE (account, stream, epoch, slot) IN (
    SELECT account, stream, epoch, slot FROM tallies WHERE slot < :before ORDER BY slot LIMIT :limit)

-- name: standings
-- Read every standing.
SELECT * FROM standings ORDER BY account, stream

-- name: known_standings
-- Read the standings of all streams, or of one account's, that anything was counted of or decided about.
WITH known (account, stream) AS (
    SELECT account, stream FROM tallies WHERE :account IS NULL OR account = :account
    UNION SELECT account, stream FROM standings WHERE :account IS NULL OR account = :account)
SELECT k.account, k.stream, coalesce(s.state, 'good') AS state, coalesce(s.reason, '') AS reason, s.since,
       coalesce(s.epoch, 0) AS epoch, coalesce(s.by, '') AS by
FROM known AS k LEFT JOIN standings AS s ON s.account = k.account AND s.stream = k.stream
ORDER BY k.account, k.stream

-- name: standing
-- Read one standing.
SELECT * FROM standings WHERE account = :account AND stream = :stream

-- name: put_standing
-- Write a standing in the place of the one that may be there.
INSERT INTO standings (account, stream, state, reason, since, epoch, by)
VALUES (:account, :stream, :state, :reason, :since, :epoch, :by)
ON CONFLICT (account, stream) DO UPDATE SET
    state = excluded.state, reason = excluded.reason, since = excluded.since, epoch = excluded.epoch, by = excluded.by

-- name: next_epoch
-- Begin to count a stream anew, and leave its standing as it is.
INSERT INTO standings (account, stream, state, reason, since, epoch, by)
VALUES (:account, :stream, 'good', '', NULL, 1, '')
ON CONFLICT (account, stream) DO UPDATE SET epoch = epoch + 1
