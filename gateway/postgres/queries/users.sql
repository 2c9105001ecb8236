-- name: create_user
SELECT status, answer, required_ucr, available_ucr FROM create_user($1, $2, $3, $4, $5, $6, $7);

-- name: find_user
SELECT org_id, user_id, external_id, name, email, role, status, created_at
FROM org_user
WHERE org_id = $1 AND user_id = $2;

-- name: lock_user
SELECT org_id, user_id, external_id, name, email, role, status, created_at
FROM org_user
WHERE org_id = $1 AND user_id = $2
FOR NO KEY UPDATE;

-- name: find_user_by_external_id
SELECT org_id, user_id, external_id, name, email, role, status, created_at
FROM org_user
WHERE org_id = $1 AND external_id = $2;

-- name: list_users
SELECT org_id, user_id, external_id, name, email, role, status, created_at
FROM org_user
WHERE org_id = $1
ORDER BY user_id
LIMIT $2 OFFSET $3;

-- name: count_users
SELECT count(*) FROM org_user WHERE org_id = $1;

-- name: change_user
SELECT org_id, user_id, external_id, name, email, role, status, created_at, erased_at IS NOT NULL AS erased
FROM change_user($1, $2, $3, $4, $5)
WHERE user_id IS NOT NULL;
