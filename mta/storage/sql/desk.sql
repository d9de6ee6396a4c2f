-- What an operator changes. Each names the state that was seen before, so that nothing is changed behind a worker's back.

-- name: hold
-- Set deliveries aside.
UPDATE deliveries SET state = 'held', hold_reason = :reason, held_since = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = :was RETURNING id

-- name: unhold
-- Queue held deliveries again, not before their release time; the time they were held does not count as age.
UPDATE deliveries SET state = 'queued', hold_reason = NULL, held_since = NULL,
    held_for = held_for + CASE WHEN :now > held_since THEN :now - held_since ELSE 0 END,
    due_at = CASE WHEN release_at > :now THEN release_at ELSE :now END
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = :was RETURNING id

-- name: retry
-- Make queued deliveries due now, not before their release time.
UPDATE deliveries SET due_at = CASE WHEN release_at > :now THEN release_at ELSE :now END
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = :was RETURNING id

-- name: cancel
-- End deliveries.
UPDATE deliveries SET state = 'cancelled', hold_reason = NULL, held_since = NULL, final_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = :was RETURNING id

-- name: insert_audit
-- Note who did what, to what, and why.
INSERT INTO audit (id, at, who, action, target, reason, detail)
VALUES (:id, :now, :who, :action, :target, :reason, :detail)

-- name: count_audit
-- Note how far a change has come.
UPDATE audit SET detail = :detail WHERE id = :id

-- name: audit
-- Read what operators did, newest first.
SELECT id, at, who, action, target, reason, detail FROM audit
WHERE id < :before AND at >= :since AND (:action IS NULL OR substr(action, 1, length(:action)) = :action)
ORDER BY id DESC LIMIT :limit

-- name: put_account
-- Make an account, or change it.
INSERT INTO accounts (name, data, created_at, changed_at) VALUES (:name, :data, :now, :now)
ON CONFLICT (name) DO UPDATE SET data = excluded.data, changed_at = excluded.changed_at
