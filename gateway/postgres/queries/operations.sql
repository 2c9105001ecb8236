-- What is done beside calls. Each ends with who does it, and the idempotency key with the hash of what it was used for.

-- name: take_credits
SELECT status, answer FROM take_credits($1, $2, $3, $4, $5, $6, $7);

-- name: void_grant
SELECT status, answer FROM void_grant($1, $2, $3, $4);

-- name: transfer
SELECT status, answer FROM transfer($1, $2, $3, $4, $5, $6, $7);

-- name: refund_charge
SELECT status, answer FROM refund_charge($1, $2, $3, $4, $5, $6, $7);

-- name: set_account_status
SELECT status, answer FROM set_account_status($1, $2, $3, $4);

-- name: unpark_account
SELECT status, answer FROM unpark_account($1, $2, $3);

-- name: close_accounts
SELECT status, answer FROM close_accounts($1, $2, $3, $4);

-- name: deduct
SELECT status, answer FROM deduct($1, $2, $3, $4, $5, $6, $7, $8);
