-- name: set_budget
SELECT set_budget($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: budget_at
SELECT budget_id, org_id, scope, scope_id, period, max_ucr, open_max, alert_percents
  FROM budget WHERE org_id = $1 AND scope = $2 AND scope_id = $3 AND period = $4;

-- name: budget_of_id
SELECT budget_id, org_id, scope, scope_id, period, max_ucr, open_max, alert_percents
  FROM budget WHERE org_id = $1 AND budget_id = $2;

-- name: remove_budget
SELECT remove_budget($1, $2, $3);

-- name: count_budgets
SELECT count(*)
  FROM budget
 WHERE org_id = $1
   AND ($2::uuid IS NULL OR scope NOT IN ('user', 'key') OR scope = 'user' AND scope_id = $2::text
        OR scope = 'key' AND scope_id IN (SELECT key_id::text FROM api_key WHERE org_id = $1 AND user_id = $2));

-- name: list_budgets
-- $4: none of another user's, nor of a key that is not this one's.
SELECT b.budget_id, b.org_id, b.scope, b.scope_id, b.period, b.max_ucr, b.open_max, b.alert_percents,
       coalesce(p.used_ucr, 0) AS used_ucr, coalesce(p.held_ucr, 0) AS held_ucr, coalesce(p.open_count, 0) AS open_count,
       nullif(p.period_start, '-infinity') AS period_start, nullif(p.period_end, 'infinity') AS resets_at
  FROM budget b
  LEFT JOIN budget_period p ON p.org_id = b.org_id AND p.budget_id = b.budget_id
                           AND p.period_start <= clock_timestamp() AND p.period_end > clock_timestamp()
 WHERE b.org_id = $1
   AND ($4::uuid IS NULL OR b.scope NOT IN ('user', 'key') OR b.scope = 'user' AND b.scope_id = $4::text
        OR b.scope = 'key' AND b.scope_id IN (SELECT key_id::text FROM api_key WHERE org_id = $1 AND user_id = $4))
 ORDER BY b.scope, b.scope_id, b.period
 LIMIT $2 OFFSET $3;
