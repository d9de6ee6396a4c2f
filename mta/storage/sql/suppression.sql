-- Who is not written to any more. Entries are never purged, also not those that ended.

-- name: holding
-- Read the entries that hold now of those that are asked for as [account, address].
SELECT s.* FROM json_each(:asked) AS wanted
CROSS JOIN suppressions AS s
    ON s.account = json_extract(wanted.value, '$[0]') AND s.address = json_extract(wanted.value, '$[1]')
WHERE s.expires_at IS NULL OR s.expires_at > :now

-- name: suppression
-- Read one entry, whether it holds or has ended.
SELECT * FROM suppressions WHERE account = :account AND address = :address

-- name: suppressed
-- Read who is on the accounts' lists, and whose entries have ended, up to a number.
SELECT account, address FROM suppressions WHERE account > '' LIMIT :limit

-- name: suppressions_of_address
-- Read the entries of an address that hold now, on all lists or on one.
SELECT * FROM suppressions
WHERE address = :address AND (:account IS NULL OR account = :account) AND (expires_at IS NULL OR expires_at > :now)
ORDER BY account LIMIT :limit

-- name: suppressions_of_account
-- Read what holds now of an account's list by address, behind one of them.
SELECT * FROM suppressions
WHERE account = :account AND address > :after_address AND (expires_at IS NULL OR expires_at > :now)
ORDER BY address LIMIT :limit

-- name: suppressions
-- Read what holds now of all lists by account and address, behind an entry.
SELECT * FROM suppressions
WHERE (account, address) > (:after_account, :after_address) AND (expires_at IS NULL OR expires_at > :now)
ORDER BY account, address LIMIT :limit

-- name: put_suppression
-- Write an entry in the place of the one that may be there.
INSERT INTO suppressions (account, address, cause, origin, at, expires_at, detail, delivery_id)
VALUES (:account, :address, :cause, :origin, :at, :expires_at, :detail, :delivery_id)
ON CONFLICT (account, address) DO UPDATE SET
    cause = excluded.cause, origin = excluded.origin, at = excluded.at, expires_at = excluded.expires_at,
    detail = excluded.detail, delivery_id = excluded.delivery_id

-- name: remove_suppression
-- Take an entry off.
DELETE FROM suppressions WHERE account = :account AND address = :address

-- name: suspect
-- Note that an address was seen to fail in a way that may pass, unless that is noted already.
INSERT INTO suspects (account, address, first_at) VALUES (:account, :address, :now)
ON CONFLICT (account, address) DO NOTHING

-- name: suspected_since
-- Say when an address was first seen to fail in a way that may pass.
SELECT first_at FROM suspects WHERE account = :account AND address = :address

-- name: clear_suspect
-- Forget that.
DELETE FROM suspects WHERE account = :account AND address = :address

-- name: clear_suspects
-- Forget that of those that are named as [account, address].
DELETE FROM suspects WHERE (account, address) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:delivered))

-- name: purge_suspects
-- Forget old suspicions that nothing came of.
DELETE FROM suspects WHERE (account, address) IN (
    SELECT account, address FROM suspects WHERE first_at < :before ORDER BY first_at LIMIT :limit)
