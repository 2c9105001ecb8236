-- name: add_grant
SELECT status, answer FROM add_grant($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15);
