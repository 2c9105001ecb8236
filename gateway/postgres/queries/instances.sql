-- name: register
WITH instance AS (INSERT INTO gateway_instance (id, name) VALUES ($1, $2) RETURNING id)
INSERT INTO fence (instance_id) SELECT id FROM instance;

-- name: beat
UPDATE gateway_instance AS i
   SET beat_at = clock_timestamp()
 WHERE i.id = $1
RETURNING i.beat_at, (SELECT f.fenced_at FROM fence f WHERE f.instance_id = i.id) AS fenced_at;

-- name: fence_silent
-- By $3 it must have arrived: what holds it up on its way also holds up heartbeats, and then everybody looks silent.
UPDATE fence AS f
   SET fenced_at = clock_timestamp()
  FROM gateway_instance i
 WHERE i.id = f.instance_id AND f.fenced_at IS NULL AND i.id <> $1
   AND i.beat_at < clock_timestamp() - make_interval(secs => $2) AND clock_timestamp() <= $3
RETURNING f.instance_id;

-- name: fence_others
UPDATE fence SET fenced_at = clock_timestamp() WHERE fenced_at IS NULL AND instance_id <> $1 RETURNING instance_id;

-- name: fence_self
UPDATE fence SET fenced_at = clock_timestamp() WHERE fenced_at IS NULL AND instance_id = $1;

-- name: forget_old
DELETE FROM gateway_instance AS i
 USING fence f
 WHERE f.instance_id = i.id AND f.fenced_at < clock_timestamp() - interval '1 day'
   AND NOT EXISTS (SELECT FROM reservation r WHERE r.owner_id = i.id);

-- name: orphaned_accounts
SELECT r.org_id, r.account_id, array_agg(DISTINCT r.owner_id) AS owners
  FROM reservation r
  LEFT JOIN fence f ON f.instance_id = r.owner_id
 WHERE r.owner_kind IS NULL AND (f.instance_id IS NULL OR f.fenced_at IS NOT NULL)
 GROUP BY r.org_id, r.account_id
 ORDER BY r.org_id, r.account_id;

-- name: recover_owners
SELECT ended, charged_ucr FROM recover_reservations($1, $2, $3, '{}', $4);

-- name: open_of_instance
SELECT org_id, id, account_id
  FROM reservation
 WHERE owner_kind IS NULL AND owner_id = $1 AND created_at < clock_timestamp() - make_interval(secs => $2);

-- name: write_watermarks
WITH open AS (
    SELECT r.org_id, r.id, u.spent_ucr
      FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS u (org_id, id, spent_ucr)
      JOIN reservation r ON r.org_id = u.org_id AND r.id = u.id AND r.spent_ucr < u.spent_ucr
     ORDER BY r.id
       FOR NO KEY UPDATE OF r SKIP LOCKED
)
UPDATE reservation AS r
   SET spent_ucr = open.spent_ucr
  FROM open
 WHERE r.org_id = open.org_id AND r.id = open.id
RETURNING r.id, r.spent_ucr;
