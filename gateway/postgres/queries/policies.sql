-- name: read_policy
SELECT coalesce(p.payment_order, 'allocation_first') AS payment_order, coalesce(p.time_zone, 'UTC') AS time_zone
  FROM (SELECT) AS one LEFT JOIN credit_policy AS p ON p.org_id = $1;

-- name: set_policy
-- NULL leaves a value as it is.
INSERT INTO credit_policy AS p (org_id, payment_order, time_zone)
SELECT $1, coalesce($2, 'allocation_first'), coalesce($3, 'UTC')
 WHERE EXISTS (SELECT FROM account WHERE org_id = $1 AND kind = 'pool')
    ON CONFLICT (org_id)
    DO UPDATE SET payment_order = coalesce($2, p.payment_order), time_zone = coalesce($3, p.time_zone)
RETURNING payment_order, time_zone;

-- name: knows_zone
SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1);
