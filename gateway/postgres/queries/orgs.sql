-- name: insert_org
INSERT INTO org (org_id, name)
VALUES ($1, $2)
RETURNING org_id, name, status, created_at;

-- name: find_org
SELECT org_id, name, status, created_at
FROM org
WHERE org_id = $1;

-- name: find_orgs_named
SELECT org_id, name, status, created_at
FROM org
WHERE name = $1
ORDER BY org_id
LIMIT $2;

-- name: list_orgs
SELECT org_id, name, status, created_at
FROM org
ORDER BY org_id
LIMIT $1 OFFSET $2;

-- name: count_orgs
SELECT count(*) FROM org;

-- name: set_org_status
UPDATE org
SET status = $2
WHERE org_id = $1
RETURNING org_id, name, status, created_at;
