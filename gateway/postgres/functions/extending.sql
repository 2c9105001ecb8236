-- Holding more for calls that are under way. Statuses as in reserving.sql.

-- "Hold at least": absolute, so that asking twice is asking once. Oldest call first where credits are short. What it
-- touches was locked by lock_for_batch.
CREATE OR REPLACE FUNCTION extend_batch(p_org uuid, p_extensions extension_item[]) RETURNS hold_answer[]
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_accounts uuid[] := ARRAY(SELECT DISTINCT account_id FROM unnest(p_extensions));
    v_answers  hold_answer[] := array_fill(ROW('no_account', 0, 0, 0, NULL, NULL, NULL)::hold_answer,
                                           ARRAY[cardinality(p_extensions)]);
    v_now      timestamptz;
    v_changed  boolean;
    a          account;
    x          record;
    h          hold_answer;
BEGIN
    FOR a IN
        SELECT * FROM account WHERE org_id = p_org AND account_id = ANY (v_accounts) ORDER BY account_id
    LOOP
        v_now := clock_timestamp();
        v_changed := a.next_change_at <= v_now;
        IF v_changed THEN
            a := bring_up_to(a, v_now);
        END IF;
        FOR x IN
            SELECT u.n, u.id, u.at_least_ucr
              FROM unnest(p_extensions) WITH ORDINALITY AS u (id, account_id, at_least_ucr, n)
             WHERE u.account_id = a.account_id
             ORDER BY u.id, u.n
        LOOP
            h := extend(a, x.id, x.at_least_ucr);
            IF h.status = 'ok' THEN
                a.held_ucr := a.balance_ucr - h.available_ucr;
                v_changed := true;
            END IF;
            v_answers[x.n] := h;
        END LOOP;
        IF v_changed THEN
            PERFORM save_account(a);
        END IF;
    END LOOP;
    RETURN v_answers;
END
$$;


CREATE OR REPLACE FUNCTION extend(a account, p_id uuid, p_at_least_ucr bigint) RETURNS hold_answer
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_free    bigint := a.balance_ucr - a.held_ucr;
    v_blocked text := blocked_because(a);
    v_more    bigint;
    v_open    reservation;
    b         record;
BEGIN
    SELECT * INTO v_open FROM reservation WHERE org_id = a.org_id AND id = p_id AND account_id = a.account_id;
    IF NOT FOUND THEN
        RETURN ROW('ended', 0, v_free, a.balance_ucr, a.account_id, NULL, NULL)::hold_answer;
    END IF;
    v_more := p_at_least_ucr - v_open.amount_ucr;
    IF v_more <= 0 THEN
        RETURN ROW('exists', v_open.amount_ucr, v_free, a.balance_ucr, a.account_id, NULL, NULL)::hold_answer;
    ELSIF v_blocked IS NOT NULL THEN
        RETURN ROW(v_blocked, v_open.amount_ucr, v_free, a.balance_ucr, a.account_id, NULL, NULL)::hold_answer;
    END IF;
    SELECT d.scope, d.max_ucr - p.used_ucr AS left_ucr, d.max_ucr - p.used_ucr - p.held_ucr AS room_ucr,
           nullif(p.period_end, 'infinity') AS resets_at
      INTO b
      FROM budget_period p JOIN budget d ON d.org_id = p.org_id AND d.budget_id = p.budget_id
     WHERE p.org_id = a.org_id AND p.id = ANY (v_open.budgets::integer[]) AND d.max_ucr - p.used_ucr - p.held_ucr < v_more
     ORDER BY d.max_ucr - p.used_ucr, p.id
     LIMIT 1;
    IF FOUND THEN
        -- What it holds already is its own: of the budget it may have that, and what others do not hold.
        RETURN ROW(CASE WHEN p_at_least_ucr > b.left_ucr THEN 'budget' ELSE 'busy' END, v_open.amount_ucr, greatest(b.room_ucr, 0),
                   a.balance_ucr, a.account_id, b.scope, b.resets_at)::hold_answer;
    ELSIF p_at_least_ucr > a.balance_ucr THEN
        RETURN ROW('insufficient', v_open.amount_ucr, v_free, a.balance_ucr, a.account_id, NULL, NULL)::hold_answer;
    ELSIF v_more > v_free THEN
        RETURN ROW('busy', v_open.amount_ucr, v_free, a.balance_ucr, a.account_id, NULL, NULL)::hold_answer;
    END IF;
    UPDATE reservation SET amount_ucr = p_at_least_ucr WHERE org_id = a.org_id AND id = p_id;
    UPDATE budget_period SET held_ucr = held_ucr + v_more WHERE org_id = a.org_id AND id = ANY (v_open.budgets::integer[]);
    RETURN ROW('ok', p_at_least_ucr, v_free - v_more, a.balance_ucr, a.account_id, NULL, NULL)::hold_answer;
END
$$;
