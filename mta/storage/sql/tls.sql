-- Policies of MTA-STS, and what was counted for reports about TLS.

-- name: sts_policies
-- Read the policies that still hold.
SELECT data FROM sts_policies WHERE expires_at > :now ORDER BY domain

-- name: sts_policy
-- Read one domain's policy.
SELECT data FROM sts_policies WHERE domain = :domain AND expires_at > :now

-- name: put_sts_policy
-- Keep a policy in place of the domain's last one.
INSERT INTO sts_policies (domain, data, expires_at) VALUES (:domain, :data, :expires_at)
ON CONFLICT (domain) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at

-- name: forget_sts_policies
-- Forget what holds no more.
DELETE FROM sts_policies WHERE expires_at <= :now

-- name: tls_tally
-- Read what was counted for a domain on a day.
SELECT data FROM tls_tallies WHERE day = :day AND domain = :domain

-- name: put_tls_tally
-- Keep what was counted for a domain on a day.
INSERT INTO tls_tallies (day, domain, data) VALUES (:day, :domain, :data)
ON CONFLICT (day, domain) DO UPDATE SET data = excluded.data

-- name: tls_tallies_before
-- Read what was counted on earlier days.
SELECT data FROM tls_tallies WHERE day < :day ORDER BY day, domain

-- name: remove_tls_tally
-- Forget what was counted for a domain on a day.
DELETE FROM tls_tallies WHERE day = :day AND domain = :domain
