-- Accounts as they are listed, and those for some models or features alone.

-- name: page
-- $1 organisation · $2 kind · $3 status · $4 no other user's than this one's.
SELECT org_id, account_id, kind, user_id, name, models, features, status, parked_at IS NOT NULL AS is_parked, created_at,
       balance_ucr, held_ucr, balance_ucr - held_ucr AS available_ucr, receivable_ucr, open_count::bigint, granted_ucr, used_ucr
  FROM account
 WHERE org_id = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR status = $3)
   AND ($4::uuid IS NULL OR user_id IS NULL OR user_id = $4)
 ORDER BY account_id
 LIMIT $5 OFFSET $6;

-- name: count
SELECT count(*)
  FROM account
 WHERE org_id = $1 AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR status = $3)
   AND ($4::uuid IS NULL OR user_id IS NULL OR user_id = $4);

-- name: find
SELECT org_id, account_id, kind, user_id, name, models, features, status, parked_at IS NOT NULL AS is_parked, created_at,
       balance_ucr, held_ucr, balance_ucr - held_ucr AS available_ucr, receivable_ucr, open_count::bigint, granted_ucr, used_ucr
  FROM account
 WHERE org_id = $1 AND account_id = $2 AND ($3::uuid IS NULL OR user_id IS NULL OR user_id = $3);

-- name: lock
SELECT org_id, account_id, kind, user_id, name, models, features, status, parked_at IS NOT NULL AS is_parked, created_at
  FROM account
 WHERE org_id = $1 AND account_id = $2
   FOR NO KEY UPDATE;

-- name: open
-- None where there are $6 of them already.
SELECT org_id, account_id, kind, user_id, name, models, features, status, parked_at IS NOT NULL AS is_parked, created_at
  FROM open_restricted_account($1, $2, $3, $4, $5, $6, $7)
 WHERE account_id IS NOT NULL;

-- name: change
SELECT org_id, account_id, kind, user_id, name, models, features, status, parked_at IS NOT NULL AS is_parked, created_at
  FROM change_restricted_account($1, $2, $3, $4, $5, $6);
