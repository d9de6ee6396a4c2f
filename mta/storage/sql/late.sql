-- What waits and has become late, for notices of delay.

-- name: stretch
-- Say where a stretch of what waits ends, and how long it is.
SELECT coalesce(max(id), '') AS last, count(*) AS count FROM (
    SELECT id FROM deliveries WHERE state = 'queued' AND id > :after AND id < :until ORDER BY id LIMIT :window)

-- name: late
-- Read deliveries of a stretch whose submitters want to hear of a delay, and were not told though it is time.
SELECT d.id AS delivery_id, d.recipient, d.notify, d.orcpt, d.return_path, d.state, d.due_at, d.attempts, d.site, d.source,
       d.hold_reason, d.held_for, d.delay_noticed, d.reply_code, d.reply_status, d.reply_text, d.reply_host, m.*
FROM deliveries AS d JOIN messages AS m ON m.id = d.queue_id
WHERE d.state = 'queued' AND d.id > :after AND d.id <= :last AND d.delay_noticed = 0 AND instr(d.notify, 'DELAY') > 0
    AND coalesce(d.release_at, d.accepted_at) + d.held_for <= :since AND m.reverse_path <> ''
ORDER BY d.id LIMIT :limit

-- name: note_delay
-- Note that a submitter was told of a delivery that waits.
UPDATE deliveries SET delay_noticed = 1 WHERE id = :id AND state = 'queued' AND delay_noticed = 0 RETURNING queue_id
