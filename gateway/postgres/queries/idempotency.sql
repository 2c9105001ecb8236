-- name: claim
SELECT status, answer FROM claim_key($1, $2, $3);

-- name: keep
SELECT keep_answer($1, $2, $3);
