-- name: claim
SELECT status, answer FROM claim_keys($1, $2, $3);

-- name: keep
SELECT keep_answer($1, $2, $3);
