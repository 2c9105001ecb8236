-- What people do with a subscription: begin it, change its plan, cancel it, resume it.

CREATE OR REPLACE FUNCTION subscription_answer(s subscription) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', s.subscription_id, 'account_id', s.account_id, 'kind', s.kind, 'plan', terms_answer(s.terms),
        'next_plan', CASE WHEN s.next_terms IS NOT NULL THEN terms_answer(s.next_terms) END, 'period_start', s.period_start,
        'period_end', s.period_end, 'owed_ucr', s.owed_ucr, 'cancels', s.cancels, 'ended_at', s.ended_at, 'created_at', s.created_at)
$$;

CREATE OR REPLACE FUNCTION terms_answer(t plan_terms) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('id', t.plan_id, 'name', t.name, 'amount_ucr', t.amount_ucr, 'period', t.period,
                              'rollover_min_ucr', t.rollover_min_ucr, 'rollover_max_ucr', t.rollover_max_ucr,
                              'priority', t.priority, 'credit_line_ucr', t.credit_line_ucr)
$$;


-- The period that contains now. Without an anchor it begins now, and its grant is whole; with one elsewhere in time the
-- first period is a part, and so is what it brings.
CREATE OR REPLACE FUNCTION begin_subscription(INOUT a account, INOUT s subscription, p_anchor timestamptz, p_now timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    v_zone  text := zone_of(a.org_id);
    v_ucr   bigint := (s.terms).amount_ucr;
    v_next  record;
    v_begun record;
BEGIN
    s.anchor := coalesce(p_anchor, p_now) AT TIME ZONE v_zone;
    s.period_start := p_now;
    s.periods := 0;
    IF p_anchor IS NOT NULL THEN
        WHILE period_boundary(s.anchor, (s.terms).period, s.periods, v_zone) > p_now LOOP
            s.periods := s.periods - 1;
        END LOOP;
        WHILE period_boundary(s.anchor, (s.terms).period, s.periods + 1, v_zone) <= p_now LOOP
            s.periods := s.periods + 1;
        END LOOP;
        s.period_start := period_boundary(s.anchor, (s.terms).period, s.periods, v_zone);
    END IF;
    v_next := next_boundary(s.anchor, (s.terms).period, v_zone, p_now, s.periods);
    s.periods := v_next.n;
    s.period_end := v_next.at;
    v_ucr := share_left(v_ucr, s.period_start, s.period_end, p_now, false);
    v_begun := begin_period(a, s, v_ucr, p_now, CASE s.kind WHEN 'quota' THEN 'QUOTA' ELSE 'SUBSCRIPTION' END, p_now);
    a := v_begun.a;
    s := v_begun.s;
END
$$;


-- Takes a part of what is left of a grant. The caller has made sure that open reservations do not need it.
CREATE OR REPLACE FUNCTION take_back(INOUT a account, g credit_grant, p_ucr bigint, p_reason text, p_now timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credit_grant SET remaining_ucr = remaining_ucr - p_ucr WHERE org_id = g.org_id AND id = g.id;
    a.balance_ucr := a.balance_ucr - p_ucr;
    a.granted_ucr := greatest(a.granted_ucr - p_ucr, 0);
    a.version := a.version + 1;
    INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, reason, ref_id, created_at,
                        burned_grants, burned_ucr)
    VALUES (a.org_id, new_ledger_id(p_now), a.account_id, a.version, 'VOID', -p_ucr, a.balance_ucr, p_reason, g.id,
            p_now, ARRAY[g.id], ARRAY[p_ucr]);
END
$$;


-- In place of p_back, which the old plan gave for the time that is left, comes p_come, which the new one gives. What of
-- p_back was used already, or is held, comes off p_come; what even that cannot make good is owed, and comes off whatever
-- the subscription gives next. So all that was ever given, less what is owed, is what the time on each plan earned.
CREATE OR REPLACE FUNCTION exchange(INOUT a account, s_old subscription, s_new subscription, p_kind text, p_back bigint, p_come bigint,
                         p_change uuid, p_now timestamptz, OUT owed_ucr bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_unused bigint;
    v_out    bigint;
    v_left   bigint;
    v_take   bigint;
    g        credit_grant;
BEGIN
    -- What went over from periods before is earned: it is older than the period.
    SELECT coalesce(sum(l.remaining_ucr), 0) INTO v_unused
      FROM live_of_subscription(s_old, p_kind) AS l WHERE l.effective_at >= s_old.period_start;
    v_out := least(p_back - p_come, v_unused, a.balance_ucr - a.held_ucr);
    owed_ucr := p_back - p_come - v_out;
    v_left := least(p_back, v_unused);
    a := grant_of_subscription(a, s_new, p_kind, v_left - v_out, p_change, p_now, 'PLAN_CHANGE', p_now);
    FOR g IN
        SELECT * FROM live_of_subscription(s_old, p_kind) AS l
         WHERE l.effective_at >= s_old.period_start AND l.source_id <> p_change AND l.remaining_ucr > 0
         ORDER BY l.effective_at, l.id
    LOOP
        EXIT WHEN v_left = 0;
        v_take := least(v_left, g.remaining_ucr);
        v_left := v_left - v_take;
        a := take_back(a, g, v_take, 'PLAN_CHANGE', p_now);
    END LOOP;
END
$$;


-- Other terms from now on. Prorated, the time that is left is the new plan's; otherwise the whole period is, as if it had
-- been from the beginning. A plan with another period begins one now. A credit line is not earned by time: its limit changes.
CREATE OR REPLACE FUNCTION change_terms(INOUT a account, INOUT s subscription, p_terms plan_terms, p_prorate boolean, p_change uuid, p_now timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    v_old   subscription := s;
    v_anew  boolean := (s.terms).period <> (p_terms).period;
    v_zone  text := zone_of(a.org_id);
    v_back  bigint := (s.terms).amount_ucr;
    v_come  bigint := (p_terms).amount_ucr;
    v_line  bigint := (s.terms).credit_line_ucr + s.line_owed_ucr;
    v_next  record;
    v_done  record;
BEGIN
    s.next_terms := NULL;
    s.terms := p_terms;
    IF v_old.terms = p_terms THEN
        RETURN;
    END IF;
    IF p_prorate THEN
        v_back := share_left(v_back, s.period_start, s.period_end, p_now, true);
    END IF;
    IF v_anew THEN
        s.anchor := p_now AT TIME ZONE v_zone;
        v_next := next_boundary(s.anchor, (p_terms).period, v_zone, p_now, 0);
        s.periods := v_next.n;
        s.period_start := p_now;
        s.period_end := v_next.at;
        SELECT coalesce(sum(remaining_ucr), 0) INTO v_line FROM live_of_subscription(v_old, 'credit_line');
    ELSIF p_prorate THEN
        v_come := share_left(v_come, s.period_start, s.period_end, p_now, false);
    END IF;
    v_done := exchange(a, v_old, s, s.kind, v_back + s.owed_ucr, v_come, p_change, p_now);
    a := v_done.a;
    s.owed_ucr := v_done.owed_ucr;
    v_done := exchange(a, v_old, s, 'credit_line', v_line, (p_terms).credit_line_ucr, p_change, p_now);
    a := v_done.a;
    s.line_owed_ucr := v_done.owed_ucr;
END
$$;


-- The period ends here and now, without a next.
CREATE OR REPLACE FUNCTION end_subscription(INOUT a account, INOUT s subscription, p_now timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credit_grant AS g
       SET expires_at = greatest(p_now, g.effective_at + interval '1 microsecond')
     WHERE g.org_id = a.org_id AND g.account_id = a.account_id AND g.live AND g.expired_at IS NULL
       AND g.subscription_id = s.subscription_id;
    s.period_end := greatest(p_now, s.period_start + interval '1 microsecond');
    s.ended_at := s.period_end;
    a := end_period(a, s, p_now);
END
$$;


-- What the change does to a subscription, which is made by the first of them.
CREATE OR REPLACE FUNCTION apply_change(INOUT a account, INOUT s subscription, p_what text, p_kind text, p_terms plan_terms,
                                        p_anchor timestamptz, p_prorate boolean, p_change uuid, p_now timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    v_done record;
BEGIN
    CASE p_what
        WHEN 'subscribe' THEN
            s.org_id := a.org_id;
            s.subscription_id := p_change;
            s.account_id := a.account_id;
            s.kind := p_kind;
            s.terms := p_terms;
            s.owed_ucr := 0;
            s.line_owed_ucr := 0;
            s.cancels := false;
            s.created_at := p_now;
            v_done := begin_subscription(a, s, p_anchor, p_now);
            INSERT INTO subscription SELECT (v_done.s).*;
        WHEN 'change' THEN
            v_done := change_terms(a, s, p_terms, p_prorate, p_change, p_now);
        WHEN 'cancel' THEN
            v_done := end_subscription(a, s, p_now);
        ELSE
            s.cancels := p_what = 'cancel_at_end' OR s.cancels AND p_what <> 'resume';
            IF p_what = 'change_at_end' THEN
                s.next_terms := nullif(p_terms, s.terms);
            END IF;
            RETURN;
    END CASE;
    a := v_done.a;
    s := v_done.s;
END
$$;


-- Each change once per id: p_what is subscribe, change, change_at_end, cancel, cancel_at_end or resume. p_now NULL is the
-- clock's time, read under the lock. Statuses: ok · exists (this id did it before; the first answer again) · mismatch (the
-- id came with another request) · no_account · closed · subscribed · no_subscription · not_cancelled.
CREATE OR REPLACE FUNCTION change_subscription(p_org uuid, p_account uuid, p_id uuid, p_what text, p_kind text, p_terms plan_terms, p_anchor timestamptz,
                                    p_prorate boolean, p_by origin, p_now timestamptz, OUT status text, OUT answer jsonb)
LANGUAGE plpgsql AS $$
DECLARE
    v_request jsonb := jsonb_build_object('what', p_what, 'account_id', p_account, 'kind', p_kind, 'anchor', p_anchor,
                                          'plan', terms_answer(p_terms), 'prorate', p_prorate);
    v_known   subscription_change;
    v_now     timestamptz;
    v_before  jsonb;
    v_done    record;
    a         account;
    s         subscription;
BEGIN
    SELECT * INTO a FROM account WHERE org_id = p_org AND account_id = p_account FOR NO KEY UPDATE;
    v_now := coalesce(p_now, clock_timestamp());
    SELECT * INTO v_known FROM subscription_change WHERE org_id = p_org AND id = p_id;
    IF FOUND THEN
        status := CASE WHEN v_known.request = v_request THEN 'exists' ELSE 'mismatch' END;
        answer := CASE WHEN status = 'exists' THEN v_known.answer END;
        RETURN;
    END IF;
    IF a.next_change_at <= v_now THEN
        a := bring_up_to(a, v_now);
        PERFORM save_account(a);
    END IF;
    SELECT * INTO s FROM subscription WHERE org_id = p_org AND account_id = p_account AND ended_at IS NULL;
    status := CASE WHEN a.account_id IS NULL THEN 'no_account'
                   WHEN a.status = 'closed' THEN 'closed'
                   WHEN p_what = 'subscribe' AND FOUND THEN 'subscribed'
                   WHEN p_what <> 'subscribe' AND NOT FOUND THEN 'no_subscription'
                   WHEN p_what = 'resume' AND NOT s.cancels THEN 'not_cancelled'
                   ELSE 'ok' END;
    IF status <> 'ok' THEN
        RETURN;
    END IF;
    v_before := CASE WHEN p_what <> 'subscribe' THEN subscription_answer(s) END;
    v_done := apply_change(a, s, p_what, p_kind, p_terms, p_anchor, p_prorate, p_id, v_now);
    a := v_done.a;
    s := v_done.s;
    PERFORM save_subscription(s);
    a.next_change_at := next_change_of(p_org, p_account);
    PERFORM save_account(repay(a, v_now, p_id));
    answer := subscription_answer(s);
    INSERT INTO subscription_change (org_id, id, subscription_id, request, answer, actor, created_at)
    VALUES (p_org, p_id, s.subscription_id, v_request, answer, p_by.actor, v_now);
    IF p_account = p_org AND answer IS DISTINCT FROM v_before THEN
        -- Callers are known with their plan, which decides their mark-up.
        PERFORM pg_notify('tollgate_identity', 'org ' || p_org);
    END IF;
    IF answer IS DISTINCT FROM v_before THEN
        PERFORM write_audit_log(p_org, p_by, CASE split_part(p_what, '_', 1) WHEN 'subscribe' THEN 'subscription.begun'
                                                                             WHEN 'change' THEN 'subscription.changed'
                                                                             WHEN 'cancel' THEN 'subscription.cancelled'
                                                                             ELSE 'subscription.resumed' END,
                                'subscription', s.subscription_id, v_before, answer);
    END IF;
END
$$;
