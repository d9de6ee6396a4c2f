-- A queue on its way to another machine. Deliveries that were exported are held here, those that arrive are held until
-- all of them are in.

-- name: copied_deliveries
-- Read deliveries as they are.
SELECT * FROM deliveries WHERE id IN (SELECT value FROM json_each(:ids))

-- name: copied_messages
-- Read messages as they are.
SELECT * FROM messages WHERE id IN (SELECT value FROM json_each(:ids))

-- name: append_content
-- Write one piece of a message's octets. Its number is the next one.
INSERT INTO contents (octets) VALUES (:octets)

-- name: note_exported
-- Hold a delivery that another machine has now.
UPDATE deliveries SET state = 'held', hold_reason = :reason, held_since = coalesce(held_since, :now)
WHERE id = :id AND state = :was RETURNING id

-- name: known_ids
-- Find messages and deliveries of some ids, with the reason for which a delivery is held.
SELECT id, checksum, NULL AS hold_reason FROM messages WHERE id IN (SELECT value FROM json_each(:ids))
UNION ALL SELECT id, NULL, hold_reason FROM deliveries WHERE id IN (SELECT value FROM json_each(:ids))

-- name: let_in
-- Give a delivery that arrived the state that it had.
UPDATE deliveries SET state = :state, hold_reason = :hold_reason, held_since = :held_since
WHERE id = :id AND state = 'held' AND hold_reason = :reason RETURNING id

-- name: forget_arrived
-- Forget messages that arrived, with their deliveries, unless one of those has begun its life here.
DELETE FROM messages WHERE id IN (SELECT value FROM json_each(:ids)) AND NOT EXISTS (
    SELECT 1 FROM deliveries AS d WHERE d.queue_id = messages.id AND (d.state <> 'held' OR d.hold_reason <> :reason))
RETURNING content_at, pieces

-- name: forget_octets
-- Remove octets by their numbers.
DELETE FROM contents WHERE id >= :content_at AND id < :content_at + :pieces

-- name: add_message
-- Write a message as it was elsewhere.
INSERT INTO messages (
    id, accepted_at, account, stream, reverse_path, from_domain, message_id, size, checksum, body_hash, topic,
    tag, pool, metadata, body_type, smtputf8, requiretls, ret, envid, release_at, expires_at, final_at,
    content_at, pieces, header_size)
VALUES (
    :id, :accepted_at, :account, :stream, :reverse_path, :from_domain, :message_id, :size, :checksum,
    :body_hash, :topic, :tag, :pool, :metadata, :body_type, :smtputf8, :requiretls, :ret, :envid, :release_at,
    :expires_at, :final_at, :content_at, :pieces, :header_size)

-- name: add_delivery
-- Write a delivery as it was elsewhere, or as it is to begin here.
INSERT INTO deliveries (
    id, queue_id, account, stream, accepted_at, recipient, domain, notify, orcpt, return_path, state, due_at,
    release_at, expires_at, attempts, pool, site, source, owner, lease_until, hold_reason, held_since, held_for,
    delay_noticed, reply_code, reply_status, reply_text, reply_host, final_at, late)
VALUES (
    :id, :queue_id, :account, :stream, :accepted_at, :recipient, :domain, :notify, :orcpt, :return_path, :state,
    :due_at, :release_at, :expires_at, :attempts, :pool, :site, :source, :owner, :lease_until, :hold_reason,
    :held_since, :held_for, :delay_noticed, :reply_code, :reply_status, :reply_text, :reply_host, :final_at,
    :late)

-- name: octets_are_at
-- Say where a message's octets are now, and that it is not at its end.
UPDATE messages SET content_at = :content_at, pieces = :pieces, final_at = NULL WHERE id = :id

-- name: place_of_octets
-- Say where a message's octets are, if they are.
SELECT content_at, pieces FROM messages WHERE id = :id

-- name: octets_at
-- Read octets by their numbers.
SELECT octets FROM contents WHERE id >= :content_at AND id < :content_at + :pieces ORDER BY id

-- name: copied_page
-- Read messages of a parcel by id, behind one of them.
SELECT * FROM messages WHERE id > :after ORDER BY id LIMIT :limit

-- name: deliveries_of
-- Read a message's deliveries.
SELECT * FROM deliveries WHERE queue_id = :id

-- name: drop_delivery
-- Take a delivery out of a parcel.
DELETE FROM deliveries WHERE id = :id

-- name: drop_empty
-- Take messages out of a parcel that have no delivery in it.
DELETE FROM messages WHERE id NOT IN (SELECT queue_id FROM deliveries) RETURNING content_at, pieces
