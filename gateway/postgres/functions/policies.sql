-- What an organisation chose about its credits. Changed under the pool's lock: so changes come one after another, and an
-- entry of the audit log says what was there right before.

-- False: there is no such organisation.
CREATE OR REPLACE FUNCTION lock_pool(p_org uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM account WHERE org_id = p_org AND kind = 'pool' FOR NO KEY UPDATE;
    RETURN FOUND;
END
$$;


-- NULL leaves a value as it is. Returns NULL where there is no such organisation.
CREATE OR REPLACE FUNCTION set_credit_policy(
    p_org uuid, p_payment_order text, p_time_zone text, p_unsupported_fields text, p_by origin
) RETURNS credit_policy LANGUAGE plpgsql AS $$
DECLARE
    v_before credit_policy;
    v_after  credit_policy;
BEGIN
    IF NOT lock_pool(p_org) THEN
        RETURN NULL;
    END IF;
    SELECT * INTO v_before FROM credit_policy WHERE org_id = p_org;
    INSERT INTO credit_policy AS p (org_id, payment_order, time_zone, unsupported_fields)
    VALUES (p_org, coalesce(p_payment_order, 'allocation_first'), coalesce(p_time_zone, 'UTC'), coalesce(p_unsupported_fields, 'default'))
        ON CONFLICT (org_id)
        DO UPDATE SET payment_order = coalesce(p_payment_order, p.payment_order), time_zone = coalesce(p_time_zone, p.time_zone),
                      unsupported_fields = coalesce(p_unsupported_fields, p.unsupported_fields)
    RETURNING * INTO v_after;
    IF v_after IS DISTINCT FROM v_before THEN
        PERFORM write_audit_log(p_org, p_by, 'policy.set', 'credit_policy', p_org,
                                CASE WHEN v_before.org_id IS NOT NULL THEN to_jsonb(v_before) - 'org_id' END,
                                to_jsonb(v_after) - 'org_id');
    END IF;
    RETURN v_after;
END
$$;


-- What users of a role begin with, in place of what they began with before. False: there is no such organisation.
CREATE OR REPLACE FUNCTION set_allocation_rule(p_org uuid, p_role text, p_kind text, p_ucr bigint, p_period text, p_by origin)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_before allocation_rule;
    v_after  allocation_rule;
BEGIN
    IF NOT lock_pool(p_org) THEN
        RETURN false;
    END IF;
    SELECT * INTO v_before FROM allocation_rule WHERE org_id = p_org AND role = p_role;
    INSERT INTO allocation_rule (org_id, role, kind, amount_ucr, period)
    VALUES (p_org, p_role, p_kind, p_ucr, p_period)
        ON CONFLICT (org_id, role)
        DO UPDATE SET kind = excluded.kind, amount_ucr = excluded.amount_ucr, period = excluded.period
    RETURNING * INTO v_after;
    IF v_after IS DISTINCT FROM v_before THEN
        PERFORM write_audit_log(p_org, p_by, 'allocation_rule.set', 'allocation_rule', p_org,
                                CASE WHEN v_before.org_id IS NOT NULL THEN to_jsonb(v_before) - 'org_id' END,
                                to_jsonb(v_after) - 'org_id');
    END IF;
    RETURN true;
END
$$;


-- Of what is not there, it changes nothing.
CREATE OR REPLACE FUNCTION drop_allocation_rule(p_org uuid, p_role text, p_by origin) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_before allocation_rule;
BEGIN
    PERFORM lock_pool(p_org);
    DELETE FROM allocation_rule WHERE org_id = p_org AND role = p_role RETURNING * INTO v_before;
    IF FOUND THEN
        PERFORM write_audit_log(p_org, p_by, 'allocation_rule.dropped', 'allocation_rule', p_org, to_jsonb(v_before) - 'org_id', NULL);
    END IF;
END
$$;
