-- name: user
SELECT user_id, external_id, name, email, role, status, created_at, erased_at FROM org_user WHERE org_id = $1 AND user_id = $2;

-- name: keys
SELECT key_id, name, prefix, models, expires_at, revoked_at, created_at
  FROM api_key
 WHERE org_id = $1 AND user_id = $2
 ORDER BY key_id
 LIMIT $3;

-- name: budgets
SELECT budget_id, period, max_ucr, open_max, created_at
  FROM budget
 WHERE org_id = $1 AND scope = 'user' AND scope_id = $2::uuid::text
 ORDER BY period;

-- name: erase
SELECT user_id, external_id, name, email, role, status, created_at, erased_at FROM erase_user($1, $2, $3) WHERE user_id IS NOT NULL;
