-- name: user
SELECT user_id, external_id, name, email, role, status, created_at, erased_at FROM org_user WHERE org_id = $1 AND user_id = $2;

-- name: keys
SELECT key_id, name, kind, prefix, last_four, models, ip_allow::text[] AS ip_allow, expires_at, revoked_at, created_at
  FROM api_key
 WHERE org_id = $1 AND user_id = $2
 ORDER BY key_id
 LIMIT $3;

-- name: budgets
SELECT budget_id, period, max_ucr, open_max, created_at
  FROM budget
 WHERE org_id = $1 AND scope = 'user' AND scope_id = $2::uuid::text
 ORDER BY period;

-- name: key_budgets
-- What limits their keys: the first $3.
SELECT b.budget_id
  FROM api_key k
  JOIN budget b ON b.org_id = k.org_id AND b.scope = 'key' AND b.scope_id = k.key_id::text
 WHERE k.org_id = $1 AND k.user_id = $2
 ORDER BY b.budget_id
 LIMIT $3;

-- name: erase
SELECT user_id, external_id, name, email, role, status, created_at, erased_at FROM erase_user($1, $2, $3) WHERE user_id IS NOT NULL;
