-- The end of a subscription's period and the beginning of the next. All here happens under the account's lock, and at the
-- latest when somebody looks at the account after the period's end (next_change_at): before anything is admitted.

-- A grant of a subscription, in the balance at once. What is effective before now was due then. Zero is none.
CREATE OR REPLACE FUNCTION grant_of_subscription(INOUT a account, s subscription, p_kind text, p_ucr bigint, p_source uuid, p_effective_at timestamptz,
                                      p_reason text, p_now timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    v_id   uuid := new_ledger_id(p_now);
    v_type text := CASE WHEN p_kind = 'subscription' THEN CASE p_reason WHEN 'SUBSCRIPTION_REFILL' THEN 'REFILL' ELSE 'SUBSCRIPTION' END END;
BEGIN
    IF p_ucr = 0 THEN
        RETURN;
    END IF;
    INSERT INTO credit_grant (org_id, id, account_id, kind, category, priority, amount_ucr, remaining_ucr, effective_at, expires_at,
                              activated_at, period_start, rollover_min_ucr, rollover_max_ucr, source_id, subscription_id,
                              transaction_type, reason, description, created_at)
    VALUES (a.org_id, v_id, a.account_id, p_kind, 'paid', CASE p_kind WHEN 'credit_line' THEN 32767 ELSE (s.terms).priority END,
            p_ucr, p_ucr, p_effective_at, s.period_end, p_now, s.period_start,
            CASE p_kind WHEN 'credit_line' THEN 0 ELSE (s.terms).rollover_min_ucr END,
            CASE p_kind WHEN 'credit_line' THEN 0 ELSE (s.terms).rollover_max_ucr END,
            p_source, s.subscription_id, v_type, p_reason, (s.terms).name, p_now);
    a.balance_ucr := a.balance_ucr + p_ucr;
    a.granted_ucr := a.granted_ucr + p_ucr;
    a.version := a.version + 1;
    INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, transaction_type, reason,
                        ref_id, note, created_at)
    VALUES (a.org_id, new_ledger_id(p_now), a.account_id, a.version, 'GRANT', p_ucr, a.balance_ucr, v_type, p_reason,
            v_id, (s.terms).name, p_now);
END
$$;


-- What the period's plan brings at its beginning: its amount less what was given too much before, and its credit line.
CREATE OR REPLACE FUNCTION begin_period(INOUT a account, INOUT s subscription, p_ucr bigint, p_effective_at timestamptz, p_reason text, p_now timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
    a := grant_of_subscription(a, s, s.kind, greatest(p_ucr - s.owed_ucr, 0), s.subscription_id, p_effective_at, p_reason, p_now);
    s.owed_ucr := greatest(s.owed_ucr - p_ucr, 0);
    a := grant_of_subscription(a, s, 'credit_line', (s.terms).credit_line_ucr, s.subscription_id, p_effective_at, 'CREDIT_LINE', p_now);
    s.line_owed_ucr := 0;
END
$$;


-- What goes over is moved, not granted again: out of the grants that end, into one that ends with the next period and is
-- burned before it, being the older. So breakage counts what expired, and grants what was given.
CREATE OR REPLACE FUNCTION roll_over(INOUT a account, s subscription, p_next_end timestamptz, p_now timestamptz, OUT carried_ucr bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_out    uuid := new_ledger_id(p_now);
    v_in     uuid := new_ledger_id(p_now);
    v_grant  uuid := new_ledger_id(p_now);
    v_left   bigint;
    v_take   bigint;
    v_grants uuid[];
    v_burned bigint[];
    v_oldest credit_grant;
    g        credit_grant;
BEGIN
    SELECT coalesce(sum(remaining_ucr), 0) INTO v_left FROM live_of_subscription(s, s.kind);
    carried_ucr := least((s.terms).rollover_max_ucr, greatest((s.terms).rollover_min_ucr, v_left), v_left);
    IF carried_ucr = 0 THEN
        RETURN;
    END IF;
    v_left := carried_ucr;
    FOR g IN SELECT * FROM live_of_subscription(s, s.kind) WHERE remaining_ucr > 0 ORDER BY effective_at, id LOOP
        EXIT WHEN v_left = 0;
        v_take := least(v_left, g.remaining_ucr);
        v_left := v_left - v_take;
        v_grants := v_grants || g.id;
        v_burned := v_burned || v_take;
        v_oldest := coalesce(v_oldest, g);
        UPDATE credit_grant SET remaining_ucr = remaining_ucr - v_take WHERE org_id = g.org_id AND id = g.id;
    END LOOP;
    INSERT INTO credit_grant (org_id, id, account_id, kind, category, priority, amount_ucr, remaining_ucr, effective_at, expires_at,
                              activated_at, period_start, rollover_min_ucr, rollover_max_ucr, source_id, subscription_id, reason,
                              description, created_at)
    VALUES (a.org_id, v_grant, a.account_id, s.kind, 'paid', (s.terms).priority, carried_ucr, carried_ucr, v_oldest.effective_at,
            p_next_end, p_now, s.period_end, (s.terms).rollover_min_ucr, (s.terms).rollover_max_ucr, v_oldest.id,
            s.subscription_id, 'ROLLOVER', (s.terms).name, p_now);
    INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, reason, ref_id, note, created_at,
                        burned_grants, burned_ucr)
    VALUES (a.org_id, v_out, a.account_id, a.version + 1, 'TRANSFER_OUT', -carried_ucr, a.balance_ucr - carried_ucr,
            'ROLLOVER', v_in, (s.terms).name, p_now, v_grants, v_burned),
           (a.org_id, v_in, a.account_id, a.version + 2, 'TRANSFER_IN', carried_ucr, a.balance_ucr,
            'ROLLOVER', v_out, (s.terms).name, p_now, ARRAY[v_grant], ARRAY[carried_ucr]);
    a.version := a.version + 2;
END
$$;


-- The subscription's grants of one kind that end with its period.
CREATE OR REPLACE FUNCTION live_of_subscription(s subscription, p_kind text) RETURNS SETOF credit_grant LANGUAGE sql STABLE AS $$
    SELECT * FROM credit_grant
     WHERE org_id = s.org_id AND account_id = s.account_id AND live AND activated_at IS NOT NULL AND expired_at IS NULL
       AND voided_at IS NULL AND subscription_id = s.subscription_id AND kind = p_kind AND expires_at = s.period_end
$$;


-- What is left of the period leaves, but for what open reservations hold: they go on burning it, and nothing else does.
-- The credit line leaves first, so that what they are left with is rather what was paid for than what would be billed.
CREATE OR REPLACE FUNCTION end_period(INOUT a account, s subscription, p_now timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    g credit_grant;
BEGIN
    FOR g IN
        SELECT * FROM (SELECT * FROM live_of_subscription(s, s.kind) UNION ALL SELECT * FROM live_of_subscription(s, 'credit_line')) AS l
         ORDER BY (kind = 'credit_line') DESC, effective_at, id
    LOOP
        a := expire_grant(a, g, p_now);
    END LOOP;
END
$$;


-- One period's end and the next one's beginning; or the subscription's end. The old leaves before the new comes, so that
-- calls of the old period are paid from it.
CREATE OR REPLACE FUNCTION renew(INOUT a account, INOUT s subscription, p_now timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    c_behind_max CONSTANT integer := 400;
    v_zone       text := zone_of(a.org_id);
    v_ended      subscription := s;
    v_before_ucr bigint := a.balance_ucr;
    v_expired    bigint;
    v_next       record;
    v_rolled     record;
    v_begun      record;
BEGIN
    IF s.cancels OR a.status = 'closed' THEN
        a := end_period(a, s, p_now);
        s.ended_at := s.period_end;
        RETURN;
    END IF;
    s.period_start := s.period_end;
    IF (s.next_terms).period <> (s.terms).period THEN
        s.anchor := s.period_start AT TIME ZONE v_zone;
        s.periods := 0;
    END IF;
    IF s.next_terms IS NOT NULL THEN
        s.terms := s.next_terms;
        s.next_terms := NULL;
    END IF;
    -- Caught up one by one; of a time so long past that nothing can be left of it, the beginning is passed over.
    WHILE period_boundary(s.anchor, (s.terms).period, s.periods + c_behind_max, v_zone) <= p_now LOOP
        s.periods := s.periods + 1;
        s.period_start := greatest(s.period_start, period_boundary(s.anchor, (s.terms).period, s.periods, v_zone));
    END LOOP;
    v_next := next_boundary(s.anchor, (s.terms).period, v_zone, s.period_start, s.periods);
    s.periods := v_next.n;
    s.period_end := v_next.at;
    v_rolled := roll_over(a, v_ended, s.period_end, p_now);
    a := end_period(v_rolled.a, v_ended, p_now);
    v_expired := v_before_ucr - a.balance_ucr;
    v_before_ucr := a.balance_ucr;
    v_begun := begin_period(a, s, (s.terms).amount_ucr, s.period_start, 'SUBSCRIPTION_REFILL', p_now);
    a := v_begun.a;
    s := v_begun.s;
    PERFORM tell(a.org_id, 'plan_reset', a.account_id,
                 jsonb_build_object('subscription_id', s.subscription_id, 'kind', s.kind, 'plan_id', (s.terms).plan_id,
                                    'period_start', s.period_start, 'period_end', s.period_end,
                                    'granted_ucr', a.balance_ucr - v_before_ucr, 'rolled_over_ucr', v_rolled.carried_ucr,
                                    'expired_ucr', v_expired));
END
$$;


CREATE OR REPLACE FUNCTION save_subscription(s subscription) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE subscription
       SET terms = s.terms, next_terms = CASE WHEN s.next_terms IS NOT NULL THEN s.next_terms END, anchor = s.anchor,
           periods = s.periods, period_start = s.period_start, period_end = s.period_end, owed_ucr = s.owed_ucr,
           line_owed_ucr = s.line_owed_ucr, cancels = s.cancels, ended_at = s.ended_at
     WHERE org_id = s.org_id AND subscription_id = s.subscription_id;
END
$$;


-- All periods of the account's subscription that have ended by now, one after another.
CREATE OR REPLACE FUNCTION renew_until(a account, p_now timestamptz) RETURNS account LANGUAGE plpgsql AS $$
DECLARE
    s         subscription;
    v_renewed record;
BEGIN
    SELECT * INTO s FROM subscription
     WHERE org_id = a.org_id AND account_id = a.account_id AND ended_at IS NULL AND period_end <= p_now;
    IF FOUND THEN
        WHILE s.ended_at IS NULL AND s.period_end <= p_now LOOP
            v_renewed := renew(a, s, p_now);
            a := v_renewed.a;
            s := v_renewed.s;
        END LOOP;
        PERFORM save_subscription(s);
    END IF;
    RETURN a;
END
$$;
