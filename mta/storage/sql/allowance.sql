-- What accounts have used of what they may do. json_each is SQLite's way to hand in a list.

-- name: used
-- Add up uses in every span that a time belongs to: no less than what counts in any of them.
SELECT coalesce(sum(count), 0) AS used FROM allowances
WHERE account = :account AND kind = :kind AND ends_at > :since AND ends_at <= :until AND last_at > :since

-- name: uses
-- Read uses of a stretch of time one by one.
SELECT last_at, count FROM allowances
WHERE account = :account AND kind = :kind AND ends_at > :since AND ends_at <= :until AND last_at > :since
ORDER BY ends_at

-- name: use
-- Add to what was used.
INSERT INTO allowances (account, kind, ends_at, last_at, count, forget_at)
VALUES (:account, :kind, :ends_at, :last_at, :count, :forget_at)
ON CONFLICT (account, kind, ends_at) DO UPDATE SET
    last_at = max(last_at, excluded.last_at), count = count + excluded.count

-- name: strangers
-- Name those of some addresses, each given with a recipient as it stands in deliveries, to whom an account never wrote.
-- What it sent before it had a limit is known by its deliveries, but of an address that others write to all the time only
-- the newest are looked at.
WITH asked (address, recipient) AS (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:asked))
SELECT address FROM asked
WHERE NOT EXISTS (SELECT 1 FROM acquaintances AS a WHERE a.account = :account AND a.address = asked.address)
  AND NOT EXISTS (
    SELECT 1 FROM (
        SELECT d.account FROM deliveries AS d WHERE d.recipient = asked.recipient ORDER BY d.id DESC LIMIT :most)
    AS newest WHERE newest.account = :account)

-- name: acquaint
-- Note to whom an account writes for the first time.
INSERT INTO acquaintances (account, address, since) VALUES (:account, :address, :now)
ON CONFLICT (account, address) DO NOTHING

-- name: submitted_before
-- Read for whom the same message was accepted lately.
SELECT recipient, queue_id FROM submissions WHERE digest = :digest AND forget_at > :now

-- name: submitted
-- Note for whom a message was accepted.
INSERT INTO submissions (digest, recipient, queue_id, forget_at) VALUES (:digest, :recipient, :queue_id, :forget_at)
ON CONFLICT (digest, recipient) DO UPDATE SET queue_id = excluded.queue_id, forget_at = excluded.forget_at

-- name: purge_allowances
-- Forget uses that no span reaches back to any more.
DELETE FROM allowances WHERE (account, kind, ends_at) IN (
    SELECT account, kind, ends_at FROM allowances WHERE forget_at <= :before ORDER BY forget_at LIMIT :limit)

-- name: purge_acquaintances
-- Forget addresses that were first written to long ago.
DELETE FROM acquaintances WHERE (account, address) IN (
    SELECT account, address FROM acquaintances WHERE since <= :before ORDER BY since LIMIT :limit)

-- name: purge_submissions
-- Forget messages that are not recognised any more.
DELETE FROM submissions WHERE (digest, recipient) IN (
    SELECT digest, recipient FROM submissions WHERE forget_at <= :before ORDER BY forget_at LIMIT :limit)
