-- Users, and what they begin with.

CREATE OR REPLACE FUNCTION user_answer(u org_user) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT to_jsonb(u)
$$;


-- A user with an account and what the rule for the role gives, or nothing of it. Made once per id and external id: under
-- the pool's lock, which comes first. Statuses: ok · exists · mismatch (the id or external id is another user's, or this
-- one's with other facts) · no_org · suspended · insufficient (available_ucr).
CREATE OR REPLACE FUNCTION create_user(p_org uuid, p_user uuid, p_external_id text, p_name text, p_email text, p_role text, p_by origin,
                            OUT status text, OUT answer jsonb, OUT required_ucr bigint, OUT available_ucr bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_rule allocation_rule;
    v_now  timestamptz;
    v_both record;
    u      org_user;
    pool   account;
    own    account;
BEGIN
    SELECT * INTO pool FROM account WHERE org_id = p_org AND kind = 'pool' FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    IF pool.account_id IS NULL THEN
        status := 'no_org';
        RETURN;
    END IF;
    SELECT * INTO u FROM org_user WHERE org_id = p_org AND (user_id = p_user OR external_id = p_external_id) ORDER BY user_id <> p_user;
    IF FOUND THEN
        status := CASE WHEN (u.external_id, u.name, u.role) = (p_external_id, p_name, p_role) AND u.email IS NOT DISTINCT FROM p_email
                       THEN 'exists' ELSE 'mismatch' END;
        answer := user_answer(u);
        RETURN;
    END IF;
    SELECT * INTO v_rule FROM allocation_rule WHERE org_id = p_org AND role = p_role;
    IF v_rule.kind = 'transfer' THEN
        IF pool.next_change_at <= v_now THEN
            pool := bring_up_to(pool, v_now);
            PERFORM save_account(pool);
        END IF;
        required_ucr := v_rule.amount_ucr;
        available_ucr := pool.balance_ucr - pool.held_ucr;
        status := CASE WHEN blocked_because(pool) IS NOT NULL THEN 'suspended'
                       WHEN required_ucr > available_ucr THEN 'insufficient' END;
        IF status IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    INSERT INTO org_user (org_id, user_id, external_id, name, email, role)
    VALUES (p_org, p_user, p_external_id, p_name, p_email, p_role)
    RETURNING * INTO u;
    INSERT INTO account (org_id, account_id, kind, user_id) VALUES (p_org, p_user, 'user', p_user) RETURNING * INTO own;
    IF v_rule.kind = 'transfer' THEN
        v_both := move_credits(pool, own, new_ledger_id(v_now), v_rule.amount_ucr, p_by.actor, NULL, v_now);
        PERFORM save_account(v_both.source);
        PERFORM save_account(v_both.target);
    ELSIF v_rule.kind = 'quota' THEN
        PERFORM change_subscription(p_org, p_user, p_user, 'subscribe', 'quota',
                                    ROW('quota', 'Quota', v_rule.period, v_rule.amount_ucr, 0, 0, 50, 0)::plan_terms, NULL, false,
                                    p_by, v_now);
    END IF;
    status := 'ok';
    answer := user_answer(u);
    -- The entry is there for good, and who they are is not for it to tell once they are erased.
    PERFORM write_audit_log(p_org, p_by, 'user.created', 'user', p_user, NULL,
                            jsonb_build_object('role', p_role, 'begins_with', v_rule.kind, 'amount_ucr', v_rule.amount_ucr));
END
$$;


-- NULL leaves a value as it is. Returns NULL where there is no such user, and one who was erased as they are. What is so
-- already leaves no entry.
CREATE OR REPLACE FUNCTION change_user(p_org uuid, p_user uuid, p_role text, p_status text, p_by origin) RETURNS org_user
LANGUAGE plpgsql AS $$
DECLARE
    v_before org_user;
    v_after  org_user;
BEGIN
    SELECT * INTO v_before FROM org_user WHERE org_id = p_org AND user_id = p_user FOR NO KEY UPDATE;
    IF v_before.erased_at IS NOT NULL THEN
        RETURN v_before;
    END IF;
    UPDATE org_user
       SET role = coalesce(p_role, role), status = coalesce(p_status, status)
     WHERE org_id = p_org AND user_id = p_user
    RETURNING * INTO v_after;
    IF v_after.role <> v_before.role THEN
        PERFORM write_audit_log(p_org, p_by, 'user.role_changed', 'user', p_user, jsonb_build_object('role', v_before.role),
                                jsonb_build_object('role', v_after.role));
    END IF;
    IF v_after.status <> v_before.status THEN
        PERFORM write_audit_log(p_org, p_by, CASE v_after.status WHEN 'active' THEN 'user.resumed' ELSE 'user.suspended' END, 'user',
                                p_user, jsonb_build_object('status', v_before.status), jsonb_build_object('status', v_after.status));
    END IF;
    RETURN v_after;
END
$$;
