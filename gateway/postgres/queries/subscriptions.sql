-- name: change
SELECT status, answer FROM change_subscription($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL);

-- name: current
SELECT subscription_answer(s) AS answer
  FROM subscription AS s
 WHERE s.org_id = $1 AND s.account_id = $2 AND s.ended_at IS NULL;

-- name: credit_line_used
-- What was charged or repaid out of each period's line: all that is gone from it but did not expire and was not taken back.
SELECT g.period_start, max(g.expires_at) AS period_end,
       sum(g.amount_ucr - g.remaining_ucr + coalesce(l.unused_ucr, 0) + coalesce(c.unused_ucr, 0))::bigint AS used_ucr,
       max(g.expires_at) <= clock_timestamp() AND bool_and(g.expired_at IS NOT NULL OR NOT g.live) AND sum(g.remaining_ucr) = 0 AS final
  FROM credit_grant AS g
 CROSS JOIN LATERAL (SELECT sum(l.amount_ucr) AS unused_ucr FROM ledger AS l
                      WHERE l.ref_id = g.id AND l.kind IN ('EXPIRY', 'VOID') AND l.org_id = g.org_id) AS l
 CROSS JOIN LATERAL (SELECT sum(c.unused_ucr) AS unused_ucr
                       FROM ledger_closing_grant AS c JOIN ledger_month AS m ON m.first_day = c.first_day
                      WHERE c.org_id = g.org_id AND c.grant_id = g.id AND m.detached_at IS NOT NULL) AS c
 WHERE g.org_id = $1 AND g.account_id = $2 AND g.kind = 'credit_line' AND g.period_start IS NOT NULL
 GROUP BY g.subscription_id, g.period_start
 ORDER BY g.period_start DESC
 LIMIT $3;
