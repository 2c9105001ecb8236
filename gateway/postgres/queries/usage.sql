-- name: find_generation
-- The call's own row, with the late correction that it may have got after a sweep.
-- A row that the sweeper wrote knows less than one that the call's own process wrote.
SELECT l.id, coalesce(l.model, '') AS model, coalesce(l.upstream, '') AS upstream,
       coalesce(upstream_model_of(l), '') AS upstream_model, coalesce(l.provider_request_id, '') AS provider_request_id,
       coalesce(l.streamed, false) AS streamed, coalesce(l.status, 0) AS status, l.ended,
       coalesce(l.finish_reason, '') AS finish_reason, coalesce(l.prompt_tokens, 0) AS prompt_tokens,
       coalesce(l.cached_tokens, 0) AS cached_tokens, coalesce(l.cache_write_tokens, 0) AS cache_write_tokens,
       coalesce(l.output_tokens, 0) AS output_tokens, coalesce(l.reasoning_tokens, 0) AS reasoning_tokens,
       coalesce(l.lines::text, '[]') AS lines,
       charged_ucr(l) + coalesce(l.overage_ucr, 0)
           + coalesce(CASE late.kind WHEN 'REFUND' THEN -1 ELSE 1 END * (charged_ucr(late) + coalesce(late.overage_ucr, 0)), 0)
           AS used_ucr,
       id_time(l.id) AS started_at, l.first_event_ms, coalesce(l.duration_ms, 0) AS duration_ms,
       l.created_at
FROM ledger AS l
LEFT JOIN ledger AS late ON late.org_id = l.org_id AND late.id = late_id(l.id)
WHERE l.org_id = $1 AND l.id = $2 AND l.ended IS NOT NULL;

-- name: find_generation_id
-- Nobody pays for an index on what providers call their answers: it is asked for rarely, and soon after. So the newest
-- calls of each of the organisation's accounts are looked through, $3 at most.
SELECT h.id
FROM account AS a
CROSS JOIN LATERAL (
    SELECT l.id, l.provider_request_id, l.ended
    FROM ledger AS l
    WHERE l.account_id = a.account_id AND l.org_id = a.org_id
    ORDER BY l.version DESC
    LIMIT $3) AS h
WHERE a.org_id = $1 AND h.provider_request_id = $2 AND $2 <> '' AND h.ended IS NOT NULL
ORDER BY h.id DESC
LIMIT 1;

-- name: is_open
SELECT EXISTS (SELECT FROM reservation WHERE org_id = $1 AND id = $2);

-- name: accounts_of_key
SELECT account_id
FROM account
WHERE org_id = $1 AND (user_id IS NULL OR user_id = $2)
ORDER BY account_id;

-- name: roll_up_key_days
SELECT roll_up_key_days($1, $2, $3);

-- name: key_usage
SELECT coalesce(sum(used_ucr), 0)::bigint AS total_ucr,
       coalesce(sum(used_ucr) FILTER (WHERE day >= $3), 0)::bigint AS day_ucr,
       coalesce(sum(used_ucr) FILTER (WHERE day >= $4), 0)::bigint AS week_ucr,
       coalesce(sum(used_ucr) FILTER (WHERE day >= $5), 0)::bigint AS month_ucr
FROM key_day
WHERE org_id = $1 AND key_id = $2;

-- name: accounts_of_org
SELECT account_id FROM account WHERE org_id = $1 ORDER BY account_id;

-- name: roll_up_model_months
SELECT roll_up_model_months($1, $2, $3);

-- name: model_month
-- What the organisation has used of a model at these upstreams in the month that is now on its clocks, and when that ends.
SELECT coalesce((SELECT sum(m.tokens) FROM model_month AS m
                 WHERE m.org_id = $1 AND m.month = z.month::date AND m.upstream = ANY ($2::text[]) AND m.upstream_model = $3), 0)::bigint
           AS tokens,
       extract(epoch FROM (z.month + interval '1 month') AT TIME ZONE z.zone - clock_timestamp())::float8 AS ends_in_s
FROM (SELECT zone, date_trunc('month', clock_timestamp() AT TIME ZONE zone) AS month
      FROM (SELECT coalesce((SELECT time_zone FROM credit_policy WHERE org_id = $1), 'UTC') AS zone) AS x) AS z;
