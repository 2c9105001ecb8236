-- name: read_policy
SELECT coalesce(p.payment_order, 'allocation_first') AS payment_order, coalesce(p.time_zone, 'UTC') AS time_zone,
       coalesce(p.unsupported_fields, 'default') AS unsupported_fields
  FROM (SELECT) AS one LEFT JOIN credit_policy AS p ON p.org_id = $1;

-- name: set_policy
SELECT payment_order, time_zone, unsupported_fields FROM set_credit_policy($1, $2, $3, $4, $5) WHERE org_id IS NOT NULL;

-- name: knows_zone
SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1);
