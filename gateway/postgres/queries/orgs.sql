-- name: insert_org
WITH made AS (
    INSERT INTO org (org_id, name) VALUES ($1, $2) RETURNING org_id, name, status, created_at
)
SELECT made.*, write_audit_log(org_id, $3, 'org.created', 'org', org_id, NULL, jsonb_build_object('name', name)) AS entry
FROM made;

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
-- Setting what is set already changes nothing and leaves no entry.
WITH before AS MATERIALIZED (
    SELECT org_id, status FROM org WHERE org_id = $1 FOR NO KEY UPDATE
), turned AS (
    UPDATE org AS o
    SET status = $2
    FROM before AS b
    WHERE o.org_id = b.org_id
    RETURNING o.org_id, o.name, o.status, o.created_at, b.status AS status_before
)
SELECT org_id, name, status, created_at,
       CASE WHEN status <> status_before
            THEN write_audit_log(org_id, $3, CASE status WHEN 'active' THEN 'org.resumed' ELSE 'org.suspended' END, 'org', org_id,
                                 jsonb_build_object('status', status_before), jsonb_build_object('status', status))
       END AS entry
FROM turned;
