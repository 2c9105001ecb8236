-- name: price_revision
SELECT revision FROM price_revision;

-- name: now_and_revision
SELECT clock_timestamp() AS now, revision FROM price_revision;

-- name: prices_to_come
-- Those that hold, and those that will.
SELECT p.price_id, p.provider, p.model, p.is_default, p.tariff::text AS tariff, p.effective_from, p.effective_until, p.source, p.actor,
       p.created_at, m.revision
FROM price AS p
JOIN price_model AS m ON m.provider = p.provider AND m.model = p.model
WHERE p.effective_until IS NULL OR p.effective_until > $1
ORDER BY p.provider, p.model, p.effective_from;

-- name: prices_at
SELECT p.price_id, p.provider, p.model, p.is_default, p.tariff::text AS tariff, p.effective_from, p.effective_until, p.source, p.actor,
       p.created_at, m.revision
FROM price AS p
JOIN price_model AS m ON m.provider = p.provider AND m.model = p.model
WHERE p.effective_from <= $1 AND (p.effective_until IS NULL OR p.effective_until > $1)
ORDER BY p.provider, p.model
LIMIT $2;

-- name: price_revision_of
SELECT revision FROM price_model WHERE provider = $1 AND model = $2;

-- name: markups
SELECT scope, scope_id, basis_points, revision, actor, changed_at FROM markup ORDER BY scope, scope_id;

-- name: markups_after
SELECT scope, scope_id, basis_points, revision, actor, changed_at
  FROM markup
 WHERE (scope, scope_id) > ($1, $2)
 ORDER BY scope, scope_id
 LIMIT $3;

-- name: markup
SELECT scope, scope_id, basis_points, revision, actor, changed_at FROM markup WHERE scope = $1 AND scope_id = $2;

-- name: plan_of_org
SELECT (terms).plan_id FROM subscription WHERE org_id = $1 AND account_id = $1 AND ended_at IS NULL;

-- name: set_price
SELECT status, answer FROM set_price($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9, $10);

-- name: end_price
SELECT status, answer FROM end_price($1, $2, $3, $4, $5);

-- name: initialize_prices
SELECT status, answer FROM initialize_prices($1, $2::text::jsonb, $3, $4, $5);

-- name: set_markup
SELECT status, answer FROM set_markup($1, $2, $3, $4, $5);
