-- What came back.

-- name: filed
-- Read a delivery in whatever state it is, with its message.
SELECT d.id AS delivery_id, d.recipient, d.notify, d.orcpt, d.return_path, d.state, d.due_at, d.attempts, d.site, d.source,
       d.hold_reason, d.held_for, d.delay_noticed, d.reply_code, d.reply_status, d.reply_text, d.reply_host, m.*
FROM deliveries AS d JOIN messages AS m ON m.id = d.queue_id
WHERE d.id = :id

-- name: members
-- Read deliveries of a message that share a return path, by its local part, and are to one of some addresses.
SELECT id, recipient FROM deliveries
WHERE queue_id = :queue_id AND substr(return_path, 1, length(:local_part) + 1) = :local_part || '@'
    AND lower(recipient) IN (SELECT value FROM json_each(:addresses))
ORDER BY id

-- name: state_of
-- Say how a delivery stands, and whether it bounced late.
SELECT state, late FROM deliveries WHERE id = :id

-- name: settle_late
-- Move a delivery that was delivered, because of a report.
UPDATE deliveries SET
    state = :state, late = 1, attempts = attempts + :attempted, site = coalesce(:site, site), reply_code = :reply_code,
    reply_status = :reply_status, reply_text = :reply_text, reply_host = :reply_host, final_at = :final_at
WHERE id = :id AND state = 'delivered'
RETURNING queue_id

-- name: insert_complaint
-- Note that a delivery was complained of, unless that is noted already.
INSERT INTO complaints (delivery_id, at) VALUES (:delivery_id, :now)
ON CONFLICT (delivery_id) DO NOTHING

-- name: insert_return
-- Keep a note of what came back, unless there is one of its kind about the same delivery.
INSERT INTO returns (id, at, kind, delivery_id, queue_id, account, stream, recipient, reason, hardness, text, effect, octets)
VALUES (:id, :at, :kind, :delivery_id, :queue_id, :account, :stream, :recipient, :reason, :hardness, :text, :effect,
        :octets)
ON CONFLICT (delivery_id, kind) WHERE delivery_id IS NOT NULL DO NOTHING

-- name: returns
-- Read notes, newest first, without octets.
SELECT id, at, kind, delivery_id, queue_id, account, stream, recipient, reason, hardness, text, effect, NULL AS octets
FROM returns
WHERE at >= :since AND (:kind IS NULL OR kind = :kind)
ORDER BY at DESC, seq DESC LIMIT :limit

-- name: rejected
-- Read notes of reports that had no token of ours, newest first.
SELECT id, at, kind, delivery_id, queue_id, account, stream, recipient, reason, hardness, text, effect, NULL AS octets
FROM returns
WHERE effect = 'rejected' AND at >= :since
ORDER BY at DESC, seq DESC LIMIT :limit

-- name: return
-- Read one note, with its octets.
SELECT id, at, kind, delivery_id, queue_id, account, stream, recipient, reason, hardness, text, effect, octets
FROM returns WHERE id = :id

-- name: events_about
-- Read what is told of an address beside the story of a message, oldest first.
SELECT data FROM (
    SELECT seq, data FROM events WHERE recipient = :recipient AND queue_id IS NULL ORDER BY seq DESC LIMIT :limit)
ORDER BY seq

-- name: purge_returns
-- Forget old notes.
DELETE FROM returns WHERE seq IN (SELECT seq FROM returns WHERE at < :before ORDER BY at LIMIT :limit)

-- name: purge_rejected
-- Forget the oldest notes that anybody can cause, past a number of them.
DELETE FROM returns WHERE seq IN (
    SELECT seq FROM returns WHERE effect = 'rejected' ORDER BY at DESC LIMIT :limit OFFSET :most)

-- name: purge_letters
-- Forget the oldest letters past a number of them.
DELETE FROM returns WHERE seq IN (
    SELECT seq FROM returns WHERE octets IS NOT NULL ORDER BY at DESC LIMIT :limit OFFSET :most)

-- name: purge_complaints
-- Forget complaints that nobody tells again any more.
DELETE FROM complaints WHERE delivery_id IN (
    SELECT delivery_id FROM complaints WHERE at < :before ORDER BY at LIMIT :limit)
