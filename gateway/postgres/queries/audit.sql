-- name: audit_accounts
SELECT org_id, account_id, invariant, id, detail FROM audit_accounts($1, $2, $3, $4);

-- name: park
UPDATE account
   SET parked_at = clock_timestamp()
 WHERE org_id = $1 AND account_id = $2 AND parked_at IS NULL
   AND (SELECT count(*) FROM account WHERE parked_at IS NOT NULL) < $3
RETURNING account_id;

-- name: unpark
UPDATE account SET parked_at = NULL WHERE org_id = $1 AND account_id = $2;
