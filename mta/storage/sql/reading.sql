-- What is read beside the writer: each statement is a read transaction of its own, and short.

-- name: schema_version
-- Say which migration was the last.
SELECT max(version) FROM schema_version

-- name: waiting_lanes
-- Name all lanes with something waiting, and when the first of it is due: three look-ups each, however much waits.
WITH RECURSIVE lane (stream, account) AS (
    SELECT value, (SELECT min(account) FROM deliveries WHERE state = 'queued' AND stream = value)
    FROM json_each(:streams)
    UNION ALL
    SELECT lane.stream, (SELECT min(d.account) FROM deliveries AS d
                         WHERE d.state = 'queued' AND d.stream = lane.stream AND d.account > lane.account)
    FROM lane WHERE lane.account IS NOT NULL)
SELECT stream, account, (SELECT min(d.due_at) FROM deliveries AS d
                         WHERE d.state = 'queued' AND d.stream = lane.stream AND d.account = lane.account) AS due_at
FROM lane WHERE account IS NOT NULL

-- name: next_lapse
-- Say when the first lease runs out behind a time.
SELECT min(lease_until) AS lease_until FROM deliveries WHERE state = 'active' AND lease_until > :after

-- name: content
-- Read a message's octets in order, with its checksum.
SELECT m.checksum, m.header_size, m.pieces, c.octets
FROM messages AS m JOIN contents AS c ON c.id >= m.content_at AND c.id < m.content_at + m.pieces
WHERE m.id = :queue_id ORDER BY c.id

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

-- name: ids_queued
-- Name waiting deliveries in the order of acceptance, behind one of them: index entries only.
SELECT id FROM deliveries WHERE state = 'queued' AND id > :after
  AND (:account IS NULL OR account = :account)
  AND (:domain IS NULL OR domain = :domain)
  AND (:stream IS NULL OR stream = :stream)
  AND (:accepted_before IS NULL OR accepted_at <= :accepted_before)
ORDER BY id LIMIT :limit

-- name: ids_active
-- Name leased deliveries: there are no more of them than workers have in hand, all of which are read. The signs keep
-- SQLite from walking the table by its key instead.
SELECT id FROM deliveries WHERE state = 'active' AND +id > :after
  AND (:account IS NULL OR account = :account)
  AND (:domain IS NULL OR domain = :domain)
  AND (:stream IS NULL OR stream = :stream)
ORDER BY +id LIMIT :limit

-- name: ids_held
-- Name held deliveries in the order of acceptance, behind one of them: index entries only.
SELECT id FROM deliveries WHERE state = 'held' AND id > :after
  AND (:account IS NULL OR account = :account)
  AND (:domain IS NULL OR domain = :domain)
  AND (:stream IS NULL OR stream = :stream)
  AND (:accepted_before IS NULL OR accepted_at <= :accepted_before)
ORDER BY id LIMIT :limit

-- name: rows_of
-- Read deliveries by their ids, as far as they are still open.
SELECT * FROM queue_rows
WHERE id IN (SELECT value FROM json_each(:ids)) AND state IN ('queued', 'active', 'held')
  AND (:state IS NULL OR state = :state)
  AND (:accepted_before IS NULL OR accepted_at <= :accepted_before)
  AND (:tag IS NULL OR tag = :tag)
  AND (:site IS NULL OR site = :site)
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
-- Read how many deliveries are open by state, which is kept, and the oldest of each: the first entry of an index, and of
-- leased ones no more than workers have in hand.
SELECT state, count,
       CASE state WHEN 'queued' THEN (SELECT min(id) FROM deliveries WHERE state = 'queued')
                  WHEN 'held' THEN (SELECT min(id) FROM deliveries WHERE state = 'held')
                  ELSE (SELECT min(+id) FROM deliveries WHERE state = 'active') END AS oldest
FROM open_counts

-- name: accepted_at
-- Say when a delivery's message was accepted.
SELECT accepted_at FROM deliveries WHERE id = :id

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

-- name: pauses
-- Read what is not to be delivered for now.
SELECT id, scope, value, reason, who, at FROM pauses ORDER BY at, id

-- name: rests
-- Read the sites that are left alone at a time.
SELECT site, until, failures, reason FROM site_rests WHERE until > :now ORDER BY site
