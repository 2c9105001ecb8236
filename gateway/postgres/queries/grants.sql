-- name: add_grant
SELECT status, answer FROM add_grant($1, $2, $3);

-- name: live_grants
-- In the order in which each account burns them; $2 NULL: of all the organisation's accounts; $4: but no other user's.
SELECT id, account_id, kind, category, priority, amount_ucr, remaining_ucr, effective_at, expires_at, transaction_type, reason
  FROM credit_grant
 WHERE org_id = $1 AND ($2::uuid IS NULL OR account_id = $2) AND live
   AND ($4::uuid IS NULL OR NOT EXISTS (SELECT FROM account a
                                         WHERE a.org_id = credit_grant.org_id AND a.account_id = credit_grant.account_id
                                           AND a.user_id <> $4))
 ORDER BY expired_at IS NULL, priority, expires_at NULLS LAST, category = 'paid', effective_at, id
 LIMIT $3;
