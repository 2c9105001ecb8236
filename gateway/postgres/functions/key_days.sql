-- What each key used, by day: rolled up from the ledger when somebody asks, so that settling a call does not pay for it.

-- Takes in at most p_versions_max further versions of the account; false: there were fewer, all is in.
CREATE OR REPLACE FUNCTION roll_up_key_days(p_org uuid, p_account uuid, p_versions_max bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_from bigint;
    v_to   bigint;
BEGIN
    INSERT INTO key_day_progress (org_id, account_id, version) VALUES (p_org, p_account, 0) ON CONFLICT DO NOTHING;
    SELECT version INTO v_from FROM key_day_progress WHERE org_id = p_org AND account_id = p_account FOR UPDATE;
    SELECT least(version, v_from + p_versions_max) INTO v_to FROM account WHERE org_id = p_org AND account_id = p_account;
    IF v_to IS NULL OR v_to = v_from THEN
        RETURN false;
    END IF;
    INSERT INTO key_day (org_id, key_id, day, calls, used_ucr)
    SELECT p_org, key_id, (created_at AT TIME ZONE 'UTC')::date AS day,
           count(*) FILTER (WHERE ended IS NOT NULL),
           sum(CASE kind WHEN 'REFUND' THEN -1 ELSE 1 END * (charged_ucr(l) + coalesce(overage_ucr, 0)))
      FROM ledger AS l
     WHERE org_id = p_org AND account_id = p_account AND version > v_from AND version <= v_to
       AND key_id IS NOT NULL AND charged_ucr(l) IS NOT NULL
     GROUP BY key_id, day
     ORDER BY key_id, day
    ON CONFLICT (org_id, key_id, day) DO UPDATE
       SET calls = key_day.calls + excluded.calls, used_ucr = key_day.used_ucr + excluded.used_ucr;
    UPDATE key_day_progress SET version = v_to WHERE org_id = p_org AND account_id = p_account;
    RETURN v_to = v_from + p_versions_max;
END
$$;
