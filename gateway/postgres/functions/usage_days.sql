-- What was used, by day: rolled up from the ledger in the background and when somebody asks, so that settling a call does
-- not pay for it.

-- Takes in at most p_versions_max further versions of the organisation's accounts; false: there were fewer, all is in. One
-- at a time for each organisation: two would lock each other's rows in an order of their own.
CREATE OR REPLACE FUNCTION roll_up_usage(p_org uuid, p_versions_max bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_zone text := zone_of(p_org);
    v_left bigint := p_versions_max;
    v_to   bigint;
    b      record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tollgate usage'), hashtext(p_org::text));
    FOR b IN
        SELECT a.account_id, a.version, coalesce(p.version, 0) AS done
          FROM account a
          LEFT JOIN usage_progress p ON p.org_id = a.org_id AND p.account_id = a.account_id
         WHERE a.org_id = p_org AND a.version > coalesce(p.version, 0)
         ORDER BY a.account_id
    LOOP
        EXIT WHEN v_left = 0;
        v_to := least(b.version, b.done + v_left);
        v_left := v_left - (v_to - b.done);
        INSERT INTO usage_day AS d (org_id, day, model, user_id, key_id, feature, calls, failed, prompt_tokens, cached_tokens,
                                    output_tokens, reasoning_tokens, cost_ucr, charged_ucr, overage_ucr, waived_ucr, refunded_ucr)
        SELECT p_org, (id_time(id) AT TIME ZONE v_zone)::date AS day, nullif(model, ''), user_id, key_id, feature,
               count(*) FILTER (WHERE kind IN ('CHARGE', 'RELEASE')),
               count(*) FILTER (WHERE kind IN ('CHARGE', 'RELEASE') AND ended = 'error'),
               coalesce(sum(prompt_tokens), 0), coalesce(sum(cached_tokens), 0), coalesce(sum(output_tokens), 0),
               coalesce(sum(reasoning_tokens), 0),
               coalesce(sum(s.sign * cost_ucr(l)) FILTER (WHERE ended IS NOT NULL), 0),
               coalesce(sum(s.sign * charged_ucr(l)) FILTER (WHERE ended IS NOT NULL), 0),
               coalesce(sum(s.sign * overage_ucr) FILTER (WHERE ended IS NOT NULL), 0),
               coalesce(sum(s.sign * waived_ucr) FILTER (WHERE ended IS NOT NULL), 0),
               coalesce(sum(charged_ucr(l)) FILTER (WHERE ended IS NULL), 0)
          FROM ledger AS l
         CROSS JOIN LATERAL (SELECT CASE kind WHEN 'REFUND' THEN -1 ELSE 1 END) AS s (sign)
         WHERE org_id = p_org AND account_id = b.account_id AND version > b.done AND version <= v_to AND charged_ucr(l) IS NOT NULL
         GROUP BY 2, 3, 4, 5, 6
        ON CONFLICT ON CONSTRAINT usage_day_once DO UPDATE
           SET calls = d.calls + excluded.calls, failed = d.failed + excluded.failed,
               prompt_tokens = d.prompt_tokens + excluded.prompt_tokens,
               cached_tokens = d.cached_tokens + excluded.cached_tokens,
               output_tokens = d.output_tokens + excluded.output_tokens,
               reasoning_tokens = d.reasoning_tokens + excluded.reasoning_tokens,
               cost_ucr = d.cost_ucr + excluded.cost_ucr, charged_ucr = d.charged_ucr + excluded.charged_ucr,
               overage_ucr = d.overage_ucr + excluded.overage_ucr, waived_ucr = d.waived_ucr + excluded.waived_ucr,
               refunded_ucr = d.refunded_ucr + excluded.refunded_ucr;
        INSERT INTO usage_progress AS p (org_id, account_id, version) VALUES (p_org, b.account_id, v_to)
        ON CONFLICT (org_id, account_id) DO UPDATE SET version = excluded.version;
    END LOOP;
    RETURN v_left = 0;
END
$$;
