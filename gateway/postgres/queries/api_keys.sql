-- name: insert_api_key
WITH made AS (
    INSERT INTO api_key (org_id, key_id, name, hash, prefix, models, user_id, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    RETURNING org_id, key_id, name, prefix, models, user_id, expires_at, revoked_at, created_at
)
SELECT made.*, write_audit_log(org_id, $9, 'key.created', 'key', key_id, NULL,
                               jsonb_build_object('name', name, 'prefix', prefix, 'models', models, 'user_id', user_id,
                                                  'expires_at', expires_at)) AS entry
FROM made;

-- name: list_api_keys
SELECT org_id, key_id, name, prefix, models, user_id, expires_at, revoked_at, created_at
FROM api_key
WHERE org_id = $1
ORDER BY key_id
LIMIT $2 OFFSET $3;

-- name: count_api_keys
SELECT count(*) FROM api_key WHERE org_id = $1;

-- name: revoke_api_key
-- The first revocation stands: doing it again changes nothing and answers the same.
WITH before AS MATERIALIZED (
    SELECT org_id, key_id, revoked_at FROM api_key WHERE org_id = $1 AND key_id = $2 FOR NO KEY UPDATE
), revoked AS (
    UPDATE api_key AS k
    SET revoked_at = coalesce(b.revoked_at, clock_timestamp())
    FROM before AS b
    WHERE k.org_id = b.org_id AND k.key_id = b.key_id
    RETURNING k.*, b.revoked_at AS revoked_before
)
SELECT org_id, key_id, name, prefix, models, user_id, expires_at, revoked_at, created_at, hash,
       CASE WHEN revoked_before IS NULL
            THEN write_audit_log(org_id, $3, 'key.revoked', 'key', key_id, NULL, jsonb_build_object('revoked_at', revoked_at))
       END AS entry
FROM revoked;

-- name: find_callers
SELECT k.hash, k.org_id, k.key_id, k.name AS key_name, k.models, k.user_id, k.expires_at, k.revoked_at,
       o.name AS org_name, o.status AS org_status, u.name AS user_name, u.status AS user_status,
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
