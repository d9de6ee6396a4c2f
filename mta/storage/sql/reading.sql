-- What is read beside the writer: each statement is a read transaction of its own, and short.

-- name: schema_version
-- Say which migration was the last.
SELECT max(version) FROM schema_version

-- name: next_due
-- Find the earliest due time and the earliest end of a lease.
SELECT (SELECT min(due_at) FROM deliveries WHERE state = 'queued') AS due_at,
       (SELECT min(lease_until) FROM deliveries WHERE state = 'active') AS lease_until

-- name: content
-- Read a message's octets in order, with its checksum.
SELECT m.checksum, c.piece, c.octets FROM messages AS m JOIN contents AS c ON c.queue_id = m.id
WHERE m.id = :queue_id ORDER BY c.piece

-- name: message
-- Read one message.
SELECT * FROM messages WHERE id = :queue_id

-- name: rows_by_id
-- Read a delivery by its id, or a message's deliveries by its queue id, whatever their state.
SELECT * FROM queue_rows
WHERE id IN (SELECT id FROM deliveries WHERE id = :id UNION SELECT id FROM deliveries WHERE queue_id = :id)
  AND id > :after
  AND (:account IS NULL OR account = :account)
  AND (:domain IS NULL OR domain = :domain)
  AND (:state IS NULL OR state = :state)
  AND (:accepted_before IS NULL OR accepted_at <= :accepted_before)
  AND (:tag IS NULL OR tag = :tag)
  AND (:site IS NULL OR site = :site)
ORDER BY id LIMIT :limit

-- name: rows_open
-- Read deliveries that may still be attempted, through the partial indexes: history does not slow this down.
WITH open (id) AS (
    SELECT id FROM deliveries WHERE state = 'queued' AND (:domain IS NULL OR domain = :domain)
    UNION ALL SELECT id FROM deliveries WHERE state = 'active' AND (:domain IS NULL OR domain = :domain)
    UNION ALL SELECT id FROM deliveries WHERE state = 'held' AND (:domain IS NULL OR domain = :domain))
SELECT * FROM queue_rows
WHERE id IN (SELECT id FROM open)
  AND id > :after
  AND (:account IS NULL OR account = :account)
  AND (:state IS NULL OR state = :state)
  AND (:accepted_before IS NULL OR accepted_at <= :accepted_before)
  AND (:tag IS NULL OR tag = :tag)
  AND (:site IS NULL OR site = :site)
  AND (:stream IS NULL OR stream = :stream)
  AND (:hold_reason IS NULL OR substr(hold_reason, 1, length(:hold_reason)) = :hold_reason)
ORDER BY id LIMIT :limit

-- name: rows_final
-- Read deliveries of one final state, in the order of their ids.
SELECT * FROM queue_rows
WHERE state = :state AND id > :after
  AND (:account IS NULL OR account = :account)
  AND (:domain IS NULL OR domain = :domain)
  AND (:accepted_before IS NULL OR accepted_at <= :accepted_before)
  AND (:tag IS NULL OR tag = :tag)
  AND (:site IS NULL OR site = :site)
ORDER BY id LIMIT :limit

-- name: totals
-- Count open deliveries by state, and name the oldest of each: index entries only.
SELECT 'queued' AS state, count(*) AS count, min(id) AS oldest FROM deliveries WHERE state = 'queued'
UNION ALL SELECT 'active', count(*), min(id) FROM deliveries WHERE state = 'active'
UNION ALL SELECT 'held', count(*), min(id) FROM deliveries WHERE state = 'held'

-- name: accepted_at
-- Say when a delivery's message was accepted.
SELECT accepted_at FROM deliveries WHERE id = :id

-- name: domains
-- Count open deliveries of the domains that have most of them, by age: bounds are times of acceptance.
WITH open (domain, accepted_at) AS (
    SELECT domain, accepted_at FROM deliveries WHERE state = 'queued'
    UNION ALL SELECT domain, accepted_at FROM deliveries WHERE state = 'active'
    UNION ALL SELECT domain, accepted_at FROM deliveries WHERE state = 'held')
SELECT domain, count(*) AS count, min(accepted_at) AS oldest,
       sum(CASE WHEN accepted_at > :first THEN 1 ELSE 0 END) AS youngest,
       sum(CASE WHEN accepted_at <= :first AND accepted_at > :second THEN 1 ELSE 0 END) AS younger,
       sum(CASE WHEN accepted_at <= :second AND accepted_at > :third THEN 1 ELSE 0 END) AS older,
       sum(CASE WHEN accepted_at <= :third THEN 1 ELSE 0 END) AS eldest
FROM open GROUP BY domain ORDER BY count(*) DESC, domain LIMIT :limit

-- name: find
-- Find what a text means: a queue id, a delivery's id, a Message-ID with or without brackets, or a recipient.
SELECT queue_id FROM (
    SELECT id AS queue_id FROM messages WHERE id = :text
    UNION SELECT queue_id FROM deliveries WHERE id = :text
    UNION SELECT id FROM messages WHERE message_id = :text OR message_id = :bracketed
    UNION SELECT queue_id FROM deliveries WHERE recipient = :recipient
) AS found ORDER BY queue_id DESC LIMIT :limit

-- name: events_of
-- Read a message's events in the order of their commits.
SELECT data FROM events WHERE queue_id = :queue_id ORDER BY seq LIMIT :limit

-- name: events
-- Read events in the order of their commits, behind one of them and not before a time.
SELECT data FROM events
WHERE seq > coalesce((SELECT seq FROM events WHERE id = :after),
                     (SELECT seq FROM events WHERE id < :after ORDER BY id DESC LIMIT 1), 0)
  AND seq >= coalesce((SELECT seq FROM events WHERE id >= :first ORDER BY id LIMIT 1), 9223372036854775807)
  AND at >= :since
  AND (:type IS NULL OR type = :type)
  AND (:account IS NULL OR account = :account)
ORDER BY seq LIMIT :limit

-- name: account
-- Read one account made by command.
SELECT name, data, created_at, changed_at FROM accounts WHERE name = :name

-- name: accounts
-- Read all accounts made by command.
SELECT name, data, created_at, changed_at FROM accounts ORDER BY name
