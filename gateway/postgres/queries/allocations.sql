-- name: set_rule
INSERT INTO allocation_rule (org_id, role, kind, amount_ucr, period)
SELECT $1, $2, $3, $4, $5
 WHERE EXISTS (SELECT FROM account WHERE org_id = $1 AND kind = 'pool')
    ON CONFLICT (org_id, role)
    DO UPDATE SET kind = EXCLUDED.kind, amount_ucr = EXCLUDED.amount_ucr, period = EXCLUDED.period
RETURNING role;

-- name: drop_rule
DELETE FROM allocation_rule WHERE org_id = $1 AND role = $2;

-- name: rules
SELECT role, kind, amount_ucr, period FROM allocation_rule WHERE org_id = $1 ORDER BY role;
