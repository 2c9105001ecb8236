-- name: create_api_key
SELECT status, answer FROM create_api_key($1, $2, $3, $4, $5, $6, $7, $8, $9::text[]::cidr[], $10, $11, $12, $13, $14);

-- name: list_api_keys
SELECT org_id, key_id, name, kind, prefix, last_four, models, ip_allow::text[] AS ip_allow, user_id, expires_at, revoked_at,
       replaced_by, version, created_at
FROM api_key
WHERE org_id = $1
ORDER BY key_id
LIMIT $2 OFFSET $3;

-- name: find_api_key
SELECT org_id, key_id, name, kind, prefix, last_four, models, ip_allow::text[] AS ip_allow, user_id, expires_at, revoked_at,
       replaced_by, version, created_at
FROM api_key
WHERE org_id = $1 AND key_id = $2;

-- name: count_api_keys
SELECT count(*) FROM api_key WHERE org_id = $1;

-- name: change_api_key
SELECT status, answer, hash FROM change_api_key($1, $2, $3, $4, $5, $6);

-- name: rotate_api_key
SELECT status, answer, hash FROM rotate_api_key($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: revoke_api_key
SELECT status, answer, hash FROM revoke_api_key($1, $2, $3);

-- name: find_callers
SELECT k.hash, k.org_id, k.key_id, k.name AS key_name, k.kind, k.models, k.ip_allow::text[] AS ip_allow, k.user_id, k.expires_at,
       k.revoked_at,
       o.name AS org_name, o.status AS org_status, u.name AS user_name, u.status AS user_status,
       coalesce(p.unsupported_fields, 'default') AS unsupported_fields,
       coalesce(p.payment_order, 'allocation_first') AS payment_order, coalesce(a.accounts, '[]') AS accounts,
       (s.terms).plan_id AS plan_id
FROM api_key AS k
JOIN org AS o ON o.org_id = k.org_id
LEFT JOIN org_user AS u ON u.org_id = k.org_id AND u.user_id = k.user_id
LEFT JOIN credit_policy AS p ON p.org_id = k.org_id
LEFT JOIN subscription AS s ON s.org_id = k.org_id AND s.account_id = k.org_id AND s.ended_at IS NULL
CROSS JOIN LATERAL (
    SELECT json_agg(json_build_object('account_id', x.account_id, 'kind', x.kind, 'user_id', x.user_id, 'models', x.models,
                                      'features', x.features) ORDER BY x.account_id)::text AS accounts
    FROM (SELECT * FROM account WHERE org_id = k.org_id AND kind = 'pool'
          UNION ALL SELECT * FROM account WHERE org_id = k.org_id AND kind = 'user' AND status <> 'closed' AND user_id = k.user_id
          UNION ALL SELECT * FROM account WHERE org_id = k.org_id AND kind = 'restricted') AS x
    WHERE x.status <> 'closed'
) AS a
WHERE k.hash = ANY ($1::bytea[]);
