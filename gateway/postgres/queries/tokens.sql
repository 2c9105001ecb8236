-- name: find_person
-- An organisation, and its user by id or else by external id; no user: the columns of one are NULL.
SELECT o.name AS org_name, o.status AS org_status, u.user_id, u.name AS user_name, u.role, u.status AS user_status,
       u.erased_at IS NOT NULL AS user_erased
FROM org AS o
LEFT JOIN LATERAL (
    SELECT * FROM org_user WHERE org_id = o.org_id AND user_id = $3
    UNION ALL
    SELECT * FROM org_user WHERE org_id = o.org_id AND external_id = $2
    LIMIT 1
) AS u ON true
WHERE o.org_id = $1;
