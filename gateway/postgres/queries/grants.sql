-- name: add_grant
SELECT status, answer FROM add_grant($1, $2, $3, $4, $5);
