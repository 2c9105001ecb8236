-- name: audit_accounts
SELECT org_id, account_id, invariant, id, detail FROM audit_accounts($1, $2, $3, $4);

-- name: park
SELECT park_account($1, $2, $3, $4);
