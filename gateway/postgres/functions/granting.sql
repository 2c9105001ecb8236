-- Credits coming in, and out again by hand.

-- Statuses of every operation: ok · exists (this id did it before; the first answer again) · conflict (the id did something
-- else) · or why not; where it is not ok, nothing changed. Of idempotency keys none knows: see idempotency.sql.

CREATE OR REPLACE FUNCTION insert_grant(g credit_grant) RETURNS void LANGUAGE sql AS $$
    INSERT INTO credit_grant (org_id, id, account_id, kind, category, priority, amount_ucr, remaining_ucr, effective_at, expires_at,
                              activated_at, period_start, rollover_min_ucr, rollover_max_ucr, source_id, paid_minor, paid_currency,
                              transaction_type, reason, description, actor, created_at)
    VALUES (g.org_id, g.id, g.account_id, g.kind, g.category, g.priority, g.amount_ucr, g.remaining_ucr, g.effective_at, g.expires_at,
            g.activated_at, g.period_start, coalesce(g.rollover_min_ucr, 0), coalesce(g.rollover_max_ucr, 0), g.source_id,
            g.paid_minor, g.paid_currency, g.transaction_type, g.reason, g.description, g.actor, g.created_at)
$$;


-- A new grant on a locked account that is up to date. One of the future enters the balance when it becomes effective.
CREATE OR REPLACE FUNCTION post_grant(a account, g credit_grant, p_now timestamptz) RETURNS account LANGUAGE plpgsql AS $$
BEGIN
    g.activated_at := CASE WHEN g.effective_at <= p_now THEN p_now END;
    g.remaining_ucr := CASE WHEN g.activated_at IS NULL THEN 0 ELSE g.amount_ucr END;
    PERFORM insert_grant(g);
    IF g.activated_at IS NULL THEN
        a.next_change_at := least(a.next_change_at, g.effective_at);
        RETURN a;
    END IF;
    a.next_change_at := least(a.next_change_at, g.expires_at);
    a.balance_ucr := a.balance_ucr + g.amount_ucr;
    a.granted_ucr := a.granted_ucr + g.amount_ucr;
    a.version := a.version + 1;
    INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, transaction_type, reason, ref_id,
                        actor, note, created_at)
    VALUES (a.org_id, g.id, a.account_id, a.version, 'GRANT', g.amount_ucr, a.balance_ucr, g.transaction_type,
            g.reason, g.id, g.actor, g.description, p_now);
    RETURN repay(a, p_now, g.id);
END
$$;


-- One grant, once per id. Refused: no_account · closed · expired · off_clock.
CREATE OR REPLACE FUNCTION add_grant(p_org uuid, p_grant grant_item, p_by origin,
                          OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now timestamptz;
    g     credit_grant;
    a     account;
BEGIN
    -- What was due comes first: the new grant pays nothing that the older ones owe.
    a := lock_account(p_org, p_grant.account_id);
    v_now := clock_timestamp();
    SELECT * INTO g FROM credit_grant WHERE org_id = p_org AND id = p_grant.id;
    status := CASE WHEN a.account_id IS NULL THEN 'no_account'
                   WHEN g.id IS NOT NULL AND g.account_id = a.account_id AND g.amount_ucr = p_grant.amount_ucr THEN 'exists'
                   WHEN g.id IS NOT NULL THEN 'conflict'
                   WHEN a.status = 'closed' THEN 'closed'
                   WHEN p_grant.expires_at <= v_now THEN 'expired'
                   WHEN is_off_clock(p_grant.id, v_now) THEN 'off_clock'
                   ELSE 'ok' END;
    IF status = 'ok' THEN
        SELECT p_org, p_grant.* INTO g.org_id, g.id, g.account_id, g.kind, g.category, g.priority, g.amount_ucr, g.effective_at,
               g.expires_at, g.transaction_type, g.reason, g.description, g.source_id, g.paid_minor, g.paid_currency;
        g.effective_at := coalesce(g.effective_at, v_now);
        g.actor := p_by.actor;
        g.created_at := v_now;
        a := post_grant(a, g, v_now);
        PERFORM save_account(a);
        PERFORM write_audit_log(p_org, p_by, 'credits.granted', 'grant', g.id, NULL,
                                jsonb_build_object('account_id', g.account_id, 'kind', g.kind, 'amount_ucr', g.amount_ucr,
                                                   'priority', g.priority, 'category', g.category,
                                                   'effective_at', g.effective_at, 'expires_at', g.expires_at));
    END IF;
    IF status IN ('ok', 'exists') THEN
        answer := standing(a) || jsonb_build_object('id', g.id, 'amount_ucr', g.amount_ucr, 'effective_at', g.effective_at,
                                                    'expires_at', g.expires_at, 'created_at', g.created_at);
    END IF;
END
$$;


-- Takes credits out by hand, of what is available alone; the row's id is p_id. Refused: no_account · closed ·
-- off_clock · insufficient.
CREATE OR REPLACE FUNCTION take_credits(p_org uuid, p_account uuid, p_id uuid, p_ucr bigint, p_reason text, p_note text, p_by origin,
                             OUT status text, OUT answer jsonb)
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_now    timestamptz;
    v_before ledger;
    a        account;
    b        record;
BEGIN
    a := lock_account(p_org, p_account);
    v_now := clock_timestamp();
    SELECT * INTO v_before FROM ledger WHERE org_id = p_org AND id = p_id;
    status := CASE WHEN a.account_id IS NULL THEN 'no_account'
                   WHEN v_before.kind = 'ADJUSTMENT' AND v_before.account_id = a.account_id AND v_before.amount_ucr = -p_ucr THEN 'exists'
                   WHEN v_before.id IS NOT NULL THEN 'conflict'
                   WHEN a.status = 'closed' THEN 'closed'
                   WHEN is_off_clock(p_id, v_now) THEN 'off_clock'
                   WHEN p_ucr > a.balance_ucr - a.held_ucr THEN 'insufficient'
                   ELSE 'ok' END;
    IF status NOT IN ('ok', 'exists') THEN
        answer := standing(a);
        RETURN;
    END IF;
    IF status = 'ok' THEN
        b := burn(a, p_ucr, NULL);
        a.balance_ucr := a.balance_ucr - p_ucr;
        a.version := a.version + 1;
        INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, transaction_type, reason,
                            actor, note, created_at, burned_grants, burned_ucr)
        VALUES (p_org, p_id, p_account, a.version, 'ADJUSTMENT', -p_ucr, a.balance_ucr, 'ADJUSTMENT', p_reason,
                p_by.actor, p_note, v_now, b.grants, b.burned_ucr);
        PERFORM save_account(a);
        PERFORM write_audit_log(p_org, p_by, 'credits.taken', 'account', p_account,
                                jsonb_build_object('balance_ucr', a.balance_ucr + p_ucr),
                                jsonb_build_object('balance_ucr', a.balance_ucr, 'row_id', p_id));
    END IF;
    answer := standing(a) || jsonb_build_object('id', p_id, 'amount_ucr', p_ucr, 'created_at', coalesce(v_before.created_at, v_now));
END
$$;
