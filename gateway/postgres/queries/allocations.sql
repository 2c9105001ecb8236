-- name: set_rule
SELECT set_allocation_rule($1, $2, $3, $4, $5, $6);

-- name: drop_rule
SELECT drop_allocation_rule($1, $2, $3);

-- name: rules
SELECT role, kind, amount_ucr, period FROM allocation_rule WHERE org_id = $1 ORDER BY role;

-- name: rule
SELECT role, kind, amount_ucr, period FROM allocation_rule WHERE org_id = $1 AND role = $2;
