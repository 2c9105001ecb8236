-- name: zone_of
SELECT zone_of($1);

-- name: roll_up
SELECT roll_up_usage($1, $2);

-- name: orgs_behind
-- Those with rows that are not rolled up; after $1, in order.
SELECT DISTINCT a.org_id
  FROM account a
  LEFT JOIN usage_progress p ON p.org_id = a.org_id AND p.account_id = a.account_id
 WHERE a.version > coalesce(p.version, 0) AND a.org_id > $1
 ORDER BY a.org_id
 LIMIT $2;

-- name: groups
-- $4: day · model · user · key · feature, or anything else for all in one. NULL is a group too: calls without a user, …
SELECT CASE $4::text WHEN 'day' THEN day::text WHEN 'model' THEN model WHEN 'user' THEN user_id::text
                     WHEN 'key' THEN key_id::text WHEN 'feature' THEN feature END AS name,
       sum(calls)::bigint AS calls, sum(failed)::bigint AS failed, sum(prompt_tokens)::bigint AS prompt_tokens,
       sum(cached_tokens)::bigint AS cached_tokens, sum(output_tokens)::bigint AS output_tokens,
       sum(reasoning_tokens)::bigint AS reasoning_tokens, sum(cost_ucr)::bigint AS cost_ucr,
       sum(charged_ucr)::bigint AS charged_ucr, sum(overage_ucr)::bigint AS overage_ucr, sum(waived_ucr)::bigint AS waived_ucr,
       sum(refunded_ucr)::bigint AS refunded_ucr
  FROM usage_day
 WHERE org_id = $1 AND day >= $2 AND day < $3
   AND ($5::text IS NULL OR model = $5)
   AND ($6::uuid IS NULL OR user_id = $6)
   AND ($7::uuid IS NULL OR key_id = $7)
   AND ($8::text IS NULL OR feature = $8)
 GROUP BY 1
 ORDER BY CASE WHEN $4 = 'day' THEN min(day) END, sum(cost_ucr) DESC, 1
 LIMIT $9;
