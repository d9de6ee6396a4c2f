-- A long queue in numbers, for people: each statement reads the entries of an index of those that wait, and no rows of
-- theirs. They are asked by a command's own process, so that what they take is not the server's.

-- name: ages_by_domain
-- Count open deliveries of the domains that have most of them, by age: bounds are times of acceptance, the latest first.
WITH open (name, accepted_at) AS (
    SELECT domain, accepted_at FROM deliveries WHERE state = 'queued'
    UNION ALL SELECT domain, accepted_at FROM deliveries WHERE state = 'active'
    UNION ALL SELECT domain, accepted_at FROM deliveries WHERE state = 'held')
SELECT name, count(*) AS count, min(accepted_at) AS oldest,
       count(*) FILTER (WHERE accepted_at > :b0) AS n0, count(*) FILTER (WHERE accepted_at > :b1) AS n1,
       count(*) FILTER (WHERE accepted_at > :b2) AS n2, count(*) FILTER (WHERE accepted_at > :b3) AS n3,
       count(*) FILTER (WHERE accepted_at > :b4) AS n4, count(*) FILTER (WHERE accepted_at > :b5) AS n5,
       count(*) FILTER (WHERE accepted_at > :b6) AS n6, count(*) FILTER (WHERE accepted_at > :b7) AS n7,
       count(*) FILTER (WHERE accepted_at > :b8) AS n8
FROM open GROUP BY name ORDER BY count(*) DESC, name LIMIT :limit

-- name: ages_by_account
-- Count open deliveries of the accounts that have most of them, by age.
WITH open (name, accepted_at) AS (
    SELECT account, accepted_at FROM deliveries WHERE state = 'queued'
    UNION ALL SELECT account, accepted_at FROM deliveries WHERE state = 'active'
    UNION ALL SELECT account, accepted_at FROM deliveries WHERE state = 'held')
SELECT name, count(*) AS count, min(accepted_at) AS oldest,
       count(*) FILTER (WHERE accepted_at > :b0) AS n0, count(*) FILTER (WHERE accepted_at > :b1) AS n1,
       count(*) FILTER (WHERE accepted_at > :b2) AS n2, count(*) FILTER (WHERE accepted_at > :b3) AS n3,
       count(*) FILTER (WHERE accepted_at > :b4) AS n4, count(*) FILTER (WHERE accepted_at > :b5) AS n5,
       count(*) FILTER (WHERE accepted_at > :b6) AS n6, count(*) FILTER (WHERE accepted_at > :b7) AS n7,
       count(*) FILTER (WHERE accepted_at > :b8) AS n8
FROM open GROUP BY name ORDER BY count(*) DESC, name LIMIT :limit

-- name: ages_by_site
-- Count open deliveries of the sites that have most of them, by age; without a name: those that were not attempted yet.
WITH open (name, accepted_at) AS (
    SELECT site, accepted_at FROM deliveries WHERE state = 'queued'
    UNION ALL SELECT site, accepted_at FROM deliveries WHERE state = 'active'
    UNION ALL SELECT site, accepted_at FROM deliveries WHERE state = 'held')
SELECT name, count(*) AS count, min(accepted_at) AS oldest,
       count(*) FILTER (WHERE accepted_at > :b0) AS n0, count(*) FILTER (WHERE accepted_at > :b1) AS n1,
       count(*) FILTER (WHERE accepted_at > :b2) AS n2, count(*) FILTER (WHERE accepted_at > :b3) AS n3,
       count(*) FILTER (WHERE accepted_at > :b4) AS n4, count(*) FILTER (WHERE accepted_at > :b5) AS n5,
       count(*) FILTER (WHERE accepted_at > :b6) AS n6, count(*) FILTER (WHERE accepted_at > :b7) AS n7,
       count(*) FILTER (WHERE accepted_at > :b8) AS n8
FROM open GROUP BY name ORDER BY count(*) DESC, name LIMIT :limit

-- name: lane_counts
-- Count what waits by lanes, which the index has together.
SELECT stream, account, count(*) AS count, min(due_at) AS due_at FROM deliveries
WHERE state = 'queued' GROUP BY stream, account ORDER BY count(*) DESC, stream DESC, account LIMIT :limit

-- name: counts_selected
-- Count open deliveries of a selection that the indexes know, by state.
SELECT 'queued' AS state, count(*) AS count FROM deliveries WHERE state = 'queued'
    AND (:account IS NULL OR account = :account) AND (:domain IS NULL OR domain = :domain)
    AND (:stream IS NULL OR stream = :stream) AND (:site IS NULL OR site = :site)
    AND (:accepted_before IS NULL OR accepted_at <= :accepted_before)
UNION ALL
SELECT 'held', count(*) FROM deliveries WHERE state = 'held'
    AND (:account IS NULL OR account = :account) AND (:domain IS NULL OR domain = :domain)
    AND (:stream IS NULL OR stream = :stream) AND (:site IS NULL OR site = :site)
    AND (:accepted_before IS NULL OR accepted_at <= :accepted_before)
UNION ALL
SELECT 'active', count(*) FROM deliveries WHERE state = 'active'
    AND (:account IS NULL OR account = :account) AND (:domain IS NULL OR domain = :domain)
    AND (:stream IS NULL OR stream = :stream) AND (:site IS NULL OR site = :site)
    AND (:accepted_before IS NULL OR accepted_at <= :accepted_before)

-- name: sites_to
-- Name the sites that some deliveries of a lane to a domain were last attempted at: a bounded look.
SELECT DISTINCT site FROM (
    SELECT site FROM deliveries WHERE state = 'queued' AND stream = :stream AND account = :account AND domain = :domain
    ORDER BY due_at, id LIMIT :limit)
WHERE site IS NOT NULL

-- name: ahead
-- Count what of a lane is due before one of its deliveries, up to a bound.
SELECT count(*) AS count FROM (
    SELECT 1 FROM deliveries
    WHERE state = 'queued' AND stream = :stream AND account = :account AND (due_at, id) < (:due_at, :id) LIMIT :limit)

-- name: newest_event
-- Say when the event was that was committed last.
SELECT at FROM events ORDER BY seq DESC LIMIT 1
