-- name: audit_accounts
SELECT org_id, account_id, invariant, id, detail FROM audit_accounts($1, $2, $3, $4);

-- name: take_time
-- An account may have as many rows to check as calls came since the last round; other statements are to be short.
SET LOCAL statement_timeout = '10min';

-- name: park
SELECT park_account($1, $2, $3, $4);
