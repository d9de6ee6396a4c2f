-- What an operator changes. Each names the state that was seen before, so that nothing is changed behind a worker's back.

-- name: hold
-- Set a delivery aside.
UPDATE deliveries SET state = 'held', hold_reason = :reason, held_since = :now WHERE id = :id AND state = :was RETURNING id

-- name: unhold
-- Queue a held delivery again, not before its release time; the time it was held does not count as age.
UPDATE deliveries SET state = 'queued', hold_reason = NULL, held_since = NULL,
    held_for = held_for + CASE WHEN :now > held_since THEN :now - held_since ELSE 0 END,
    due_at = CASE WHEN release_at > :now THEN release_at ELSE :now END
WHERE id = :id AND state = :was RETURNING id

-- name: retry
-- Make a queued delivery due now, not before its release time.
UPDATE deliveries SET due_at = CASE WHEN release_at > :now THEN release_at ELSE :now END
WHERE id = :id AND state = :was RETURNING id

-- name: cancel
-- End a delivery.
UPDATE deliveries SET state = 'cancelled', hold_reason = NULL, held_since = NULL, final_at = :now
WHERE id = :id AND state = :was RETURNING id

-- name: insert_audit
-- Note who did what, to what, and why.
INSERT INTO audit (id, at, who, action, target, reason, detail)
VALUES (:id, :now, :who, :action, :target, :reason, :detail)

-- name: put_account
-- Make an account, or change it.
INSERT INTO accounts (name, data, created_at, changed_at) VALUES (:name, :data, :now, :now)
ON CONFLICT (name) DO UPDATE SET data = excluded.data, changed_at = excluded.changed_at
