-- Bounces that the breaker of their site does not believe: what they would do to the suppression list and to the counts.

-- name: withhold
-- Keep what a bounce would do.
INSERT INTO withheld (delivery_id, site, account, stream, epoch, address, cause, origin, at, expires_at, detail)
VALUES (:delivery_id, :site, :account, :stream,
        coalesce((SELECT epoch FROM standings WHERE account = :account AND stream = :stream), 0),
        :address, :cause, :origin, :at, :expires_at, :detail)
ON CONFLICT (delivery_id) DO NOTHING

-- name: withheld_of
-- Look at bounces of a site up to a time, the oldest first.
SELECT delivery_id FROM withheld WHERE site = :site AND at <= :until
ORDER BY at, delivery_id LIMIT :limit

-- name: take_withheld
-- Let go of some bounces, and say what they would do and whether it still may: the recipient was not delivered to since,
-- and the stream was not reinstated.
DELETE FROM withheld WHERE delivery_id IN (SELECT value FROM json_each(:ids))
RETURNING *, (SELECT d.queue_id FROM deliveries AS d WHERE d.id = withheld.delivery_id) AS queue_id,
    epoch = coalesce((SELECT s.epoch FROM standings AS s WHERE s.account = withheld.account AND s.stream = withheld.stream), 0)
        AS is_counted,
    EXISTS (SELECT 1 FROM deliveries AS d WHERE d.recipient = withheld.address AND d.account = withheld.account
                AND d.state = 'delivered' AND d.final_at > withheld.at) AS is_refuted

-- name: discard_withheld
-- Forget some bounces of a site up to a time.
DELETE FROM withheld WHERE delivery_id IN (
    SELECT delivery_id FROM withheld WHERE site = :site AND at <= :until ORDER BY at, delivery_id LIMIT :limit)

-- name: withheld
-- Count what waits, by site, account and stream.
SELECT site, account, stream, count(*) AS count, min(at) AS since, max(at) AS latest FROM withheld
WHERE :account IS NULL OR account = :account
GROUP BY site, account, stream ORDER BY count(*) DESC, site, account, stream LIMIT :limit

-- name: withheld_at
-- Count what waits at a site.
SELECT count(*) AS count FROM withheld WHERE site = :site

-- name: withheld_sites
-- Name the sites of what waits, with the time of the newest: two look-ups each, however much waits.
WITH RECURSIVE next (site) AS (
    SELECT min(site) FROM withheld
    UNION ALL
    SELECT (SELECT min(w.site) FROM withheld AS w WHERE w.site > next.site) FROM next WHERE next.site IS NOT NULL)
SELECT site, (SELECT max(w.at) FROM withheld AS w WHERE w.site = next.site) AS latest FROM next WHERE site IS NOT NULL

-- name: believe_site
-- Note that an operator believes what a site says.
INSERT INTO believed_sites (site, at) VALUES (:site, :now)
ON CONFLICT (site) DO UPDATE SET at = max(at + 1, excluded.at)

-- name: believed_sites
-- Read which sites operators believe.
SELECT site, at FROM believed_sites

-- name: purge_withheld
-- Forget bounces that nobody said anything about for very long.
DELETE FROM withheld WHERE delivery_id IN (
    SELECT delivery_id FROM withheld WHERE at < :before ORDER BY at LIMIT :limit)

-- name: purge_believed_sites
-- Forget which sites were believed long ago.
DELETE FROM believed_sites WHERE at < :before
