-- The units of work of a queue: accept, claim, settle, extend, release, purge. All of them run inside a transaction of
-- the writer. Named parameters, ON CONFLICT, RETURNING and row values are what PostgreSQL shares; json_each is SQLite's
-- way to hand in a list.

-- name: insert_message
-- Write what an accepted message is, but for its octets.
INSERT INTO messages (
    id, accepted_at, account, stream, reverse_path, from_domain, message_id, size, checksum, body_hash, topic, tag, pool,
    metadata, body_type, smtputf8, requiretls, ret, envid, release_at, expires_at, final_at, content_at, pieces, header_size)
VALUES (
    :id, :accepted_at, :account, :stream, :reverse_path, :from_domain, :message_id, :size, :checksum, :body_hash, :topic,
    :tag, :pool, :metadata, :body_type, :smtputf8, :requiretls, :ret, :envid, :release_at, :expires_at, NULL, :content_at,
    :pieces, :header_size)

-- name: next_content
-- Say which number the next piece of octets gets.
SELECT coalesce(max(id), 0) + 1 AS id FROM contents

-- name: insert_content
-- Write one piece of a message's octets: those of one message follow one another.
INSERT INTO contents (id, octets) VALUES (:id, :octets)

-- name: insert_delivery
-- Write one delivery, leased already when an owner is given.
INSERT INTO deliveries (
    id, queue_id, account, stream, accepted_at, recipient, domain, notify, orcpt, return_path, state, due_at, release_at,
    expires_at, attempts, pool, site, source, owner, lease_until, hold_reason, held_since, held_for, delay_noticed,
    final_at)
VALUES (
    :id, :queue_id, :account, :stream, :accepted_at, :recipient, :domain, :notify, :orcpt, :return_path, :state, :due_at,
    :release_at, :expires_at, :attempts, :pool, :site, :source, :owner, :lease_until, :hold_reason, :held_since,
    :held_for, :delay_noticed, :final_at)

-- name: insert_event
-- Write one event.
INSERT INTO events (id, at, type, account, stream, queue_id, delivery_id, recipient, data)
VALUES (:id, :at, :type, :account, :stream, :queue_id, :delivery_id, :recipient, :data)

-- name: lanes
-- Name a stream's accounts that have something waiting, from a name on, and when the first of it is due: two look-ups
-- each, however much waits.
WITH RECURSIVE lane (account) AS (
    SELECT min(account) FROM deliveries WHERE state = 'queued' AND stream = :stream AND account >= :after
    UNION ALL
    SELECT (SELECT min(d.account) FROM deliveries AS d
            WHERE d.state = 'queued' AND d.stream = :stream AND d.account > lane.account)
    FROM lane WHERE lane.account IS NOT NULL LIMIT :limit)
SELECT account, (SELECT min(d.due_at) FROM deliveries AS d
                 WHERE d.state = 'queued' AND d.stream = :stream AND d.account = lane.account) AS due_at
FROM lane WHERE account IS NOT NULL

-- name: due
-- Look at a lane's next deliveries, the first due ones first, behind a position of the same order. The last of them may
-- not be due yet.
SELECT due_at, id, domain FROM deliveries
WHERE state = 'queued' AND stream = :stream AND account = :account AND (due_at, id) > (:after_due, :after_id)
ORDER BY due_at, id LIMIT :window

-- name: due_to
-- Look at a lane's deliveries to one domain that are due up to a time.
SELECT id FROM deliveries
WHERE state = 'queued' AND stream = :stream AND account = :account AND domain = :domain AND due_at <= :until
ORDER BY due_at, id LIMIT :limit

-- name: due_domains
-- Name domains of a lane behind one of them, in the order of their names, and when the first delivery to each is due: two
-- look-ups each, however much waits.
WITH RECURSIVE next (domain) AS (
    SELECT min(domain) FROM deliveries
    WHERE state = 'queued' AND stream = :stream AND account = :account AND domain > :after
    UNION ALL
    SELECT (SELECT min(d.domain) FROM deliveries AS d
            WHERE d.state = 'queued' AND d.stream = :stream AND d.account = :account AND d.domain > next.domain)
    FROM next WHERE next.domain IS NOT NULL LIMIT :limit)
SELECT domain, (SELECT min(d.due_at) FROM deliveries AS d
                WHERE d.state = 'queued' AND d.stream = :stream AND d.account = :account AND d.domain = next.domain)
    AS due_at
FROM next WHERE domain IS NOT NULL

-- name: lapsed
-- Look at deliveries whose lease ran out, but for some domains: there are no more of them than workers had in hand.
SELECT id, stream, account, coalesce(release_at, accepted_at) + held_for AS age_from, expires_at FROM deliveries
WHERE state = 'active' AND lease_until <= :now AND domain NOT IN (SELECT value FROM json_each(:passing))
ORDER BY lease_until LIMIT :limit

-- name: old
-- Look at waiting deliveries in the order of acceptance, those of a stretch of it, and from when each one's age counts.
SELECT id, stream, account, coalesce(release_at, accepted_at) + held_for AS age_from FROM deliveries
WHERE state = 'queued' AND id > :after AND id < :until
ORDER BY id LIMIT :window

-- name: out_of_time
-- Look at waiting deliveries whose own time is over.
SELECT id, stream, account FROM deliveries
WHERE state = 'queued' AND expires_at IS NOT NULL AND expires_at <= :now
ORDER BY expires_at, id LIMIT :limit

-- name: brothers
-- Look at waiting deliveries of a message that share a return path, and are due up to a time.
SELECT id FROM deliveries
WHERE queue_id = :queue_id AND state = 'queued' AND return_path = :return_path AND due_at <= :until
ORDER BY id LIMIT :limit

-- name: lease
-- Lease deliveries to a worker.
UPDATE deliveries SET state = 'active', owner = :owner, lease_until = :lease_until
WHERE id IN (SELECT value FROM json_each(:ids))

-- name: claimed
-- Read deliveries with their messages and what stands in their way on the suppression list, oldest due first.
SELECT d.id AS delivery_id, d.recipient, d.domain, d.notify, d.orcpt, d.return_path, d.state, d.due_at, d.attempts, d.site,
       d.source, d.hold_reason, d.held_for, d.delay_noticed, d.lease_until, d.reply_code, d.reply_status, d.reply_text,
       d.reply_host, s.cause AS listed_cause, s.origin AS listed_origin, s.at AS listed_at, s.expires_at AS listed_until,
       s.detail AS listed_detail, s.delivery_id AS listed_for, m.*
FROM deliveries AS d JOIN messages AS m ON m.id = d.queue_id
LEFT JOIN suppressions AS s ON s.account = d.account AND s.address = d.recipient
    AND (s.expires_at IS NULL OR s.expires_at > :now)
WHERE d.id IN (SELECT value FROM json_each(:ids))
ORDER BY d.due_at, d.id

-- name: set_aside
-- Hold a delivery that cannot be read.
UPDATE deliveries SET state = 'held', owner = NULL, lease_until = NULL, hold_reason = :reason, held_since = :now
WHERE id = :id

-- name: is_message
-- Say whether a message was written.
SELECT EXISTS (SELECT 1 FROM messages WHERE id = :id)

-- name: is_event
-- Say whether an event was written.
SELECT EXISTS (SELECT 1 FROM events WHERE id = :id)

-- name: still_leased
-- Say which deliveries are leased by a worker, in one row.
SELECT json_group_array(d.id) AS ids FROM json_each(:ids) AS wanted
CROSS JOIN deliveries AS d ON d.id = wanted.value
WHERE d.state = 'active' AND d.owner = :owner

-- name: settle
-- Write what attempts meant, if the leases are still ours.
WITH settled (
    id, owner, state, due_at, attempted, site, hold_reason, held_since, delay_noticed, reply_code, reply_status,
    reply_text, reply_host, final_at) AS (
    VALUES (
    :id, :owner, :state, :due_at, :attempted, :site, :hold_reason, :held_since, :delay_noticed, :reply_code,
    :reply_status, :reply_text, :reply_host, :final_at))
UPDATE deliveries SET
    state = settled.state, owner = NULL, lease_until = NULL, due_at = coalesce(settled.due_at, deliveries.due_at),
    attempts = attempts + settled.attempted, site = coalesce(settled.site, deliveries.site),
    hold_reason = settled.hold_reason, held_since = settled.held_since, delay_noticed = settled.delay_noticed,
    reply_code = settled.reply_code, reply_status = settled.reply_status, reply_text = settled.reply_text,
    reply_host = settled.reply_host, final_at = settled.final_at
FROM settled
WHERE deliveries.id = settled.id AND deliveries.state = 'active' AND deliveries.owner = settled.owner

-- name: without_open
-- Say which messages have no delivery that may still be attempted, in one row: three look-ups each, however many
-- recipients they have.
SELECT json_group_array(message.value) AS ids FROM json_each(:ids) AS message
WHERE NOT EXISTS (
    SELECT 1 FROM deliveries WHERE queue_id = message.value AND state IN ('queued', 'active', 'held'))

-- name: finish_messages
-- Note when the last delivery of messages became final.
UPDATE messages SET final_at = :now WHERE id IN (SELECT value FROM json_each(:ids))

-- name: finish_whole
-- Note when the last delivery of messages became final, and say that their octets are gone.
UPDATE messages SET final_at = :now, content_at = NULL WHERE id IN (SELECT value FROM json_each(:ids))

-- name: delete_contents
-- Remove the octets of messages, before it is noted that they are gone.
DELETE FROM contents WHERE id IN (
    SELECT c.id FROM json_each(:ids) AS wanted
    CROSS JOIN messages AS m ON m.id = wanted.value
    CROSS JOIN contents AS c ON c.id >= m.content_at AND c.id < m.content_at + m.pieces)

-- name: without_content
-- Note that a message's octets are gone.
UPDATE messages SET content_at = NULL WHERE id = :queue_id

-- name: extend
-- Renew the leases that are still ours.
UPDATE deliveries SET lease_until = :lease_until
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'active' AND owner = :owner
RETURNING id

-- name: release
-- Give back leases that are still ours. The due time stays, so that a delivery does not lose its place in the line.
UPDATE deliveries SET state = 'queued', owner = NULL, lease_until = NULL
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'active' AND owner = :owner
RETURNING stream, account, domain

-- name: give_back
-- Give back some leases of a worker that is gone.
UPDATE deliveries SET state = 'queued', owner = NULL, lease_until = NULL
WHERE id IN (SELECT id FROM deliveries WHERE state = 'active' AND owner = :owner LIMIT :limit)
RETURNING stream, account, domain

-- name: bodies_to_purge
-- Name messages whose octets have been kept long enough.
SELECT id FROM messages
WHERE final_at IS NOT NULL AND content_at IS NOT NULL AND final_at <= :before ORDER BY final_at LIMIT :limit

-- name: messages_to_purge
-- Name messages that have been final long enough.
SELECT id FROM messages WHERE final_at IS NOT NULL AND final_at <= :before ORDER BY final_at LIMIT :limit

-- name: purge_messages
-- Forget messages, and with them their deliveries.
DELETE FROM messages WHERE id IN (SELECT value FROM json_each(:ids)) AND final_at IS NOT NULL

-- name: purge_events
-- Forget old events.
DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < :before ORDER BY id LIMIT :limit)

-- name: newest_worker
-- Find the number that was given last.
SELECT number FROM workers ORDER BY seq DESC LIMIT 1

-- name: forget_workers
-- Forget workers that ended, or were last seen, long ago; the one that started last shows where numbers stand.
DELETE FROM workers WHERE seen_at <= :before AND seq < (SELECT max(seq) FROM workers)

-- name: worker_numbers
-- List the numbers in use.
SELECT number FROM workers

-- name: insert_worker
-- Give a number.
INSERT INTO workers (number, pid, started_at, seen_at, ended_at) VALUES (:number, :pid, :now, :now, NULL)

-- name: worker_seen
-- Note that a worker lives.
UPDATE workers SET seen_at = :now WHERE number = :number

-- name: worker_ended
-- Note that a worker ended in order.
UPDATE workers SET seen_at = :now, ended_at = :now WHERE number = :number

-- name: put_pause
-- Note what is not to be delivered for now, unless that is noted already.
INSERT INTO pauses (id, scope, value, reason, who, at) VALUES (:id, :scope, :value, :reason, :who, :at)
ON CONFLICT (scope, value) DO NOTHING

-- name: remove_pause
-- Let it be delivered again.
DELETE FROM pauses WHERE scope = :scope AND value = :value

-- name: put_rest
-- Note that a site is left alone.
INSERT INTO site_rests (site, until, failures, reason) VALUES (:site, :until, :failures, :reason)
ON CONFLICT (site) DO UPDATE SET until = excluded.until, failures = excluded.failures, reason = excluded.reason

-- name: remove_rest
-- Note that a site is not left alone any more.
DELETE FROM site_rests WHERE site = :site

-- name: purge_rests
-- Forget rests that ended long ago.
DELETE FROM site_rests WHERE site IN (SELECT site FROM site_rests WHERE until <= :before ORDER BY until LIMIT :limit)
