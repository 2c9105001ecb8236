-- Setting credits aside: reserve and extend. Both answer per item, in the order given:
-- ok · exists · ended · insufficient · busy · receivable · suspended · parked · fenced · off_clock · no_account

-- A wish is held whole or not at all; the smaller, learned amount is enough while the account has plenty.
-- The open row is all that a reservation is: with it goes its amount onto held_ucr of one account.
CREATE OR REPLACE FUNCTION reserve_batch(p_org uuid, p_instance uuid, p_wishes wish_item[]) RETURNS hold_answer[]
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_accounts uuid[] := ARRAY(SELECT DISTINCT account_id FROM unnest(p_wishes));
    v_answers  hold_answer[] := array_fill(ROW('no_account', 0, 0, 0)::hold_answer, ARRAY[cardinality(p_wishes)]);
    v_now      timestamptz;
    v_earliest uuid;
    v_latest   uuid;
    v_blocked  text;
    v_ucr      bigint;
    v_free     bigint;
    v_held     boolean := false;
    v_changed  boolean;
    a          account;
    w          record;
BEGIN
    FOR a IN
        SELECT * FROM account WHERE org_id = p_org AND account_id = ANY (v_accounts) ORDER BY account_id FOR NO KEY UPDATE
    LOOP
        v_now := clock_timestamp();
        v_earliest := first_id_at(v_now - interval '5 minutes');
        v_latest := first_id_at(v_now + interval '5 minutes');
        v_changed := a.next_change_at <= v_now;
        IF v_changed THEN
            a := bring_up_to(a, v_now);
        END IF;
        v_blocked := blocked_because(a);
        v_free := a.balance_ucr - a.held_ucr;
        FOR w IN
            SELECT u.n, u.id, u.amount_ucr, u.learned_ucr, r.amount_ucr AS open_ucr, r.account_id AS open_account, e.ended
              FROM unnest(p_wishes) WITH ORDINALITY AS u (id, account_id, amount_ucr, learned_ucr, prompt_ucr, key_id, user_id,
                                                          model, pins, n)
              LEFT JOIN LATERAL (SELECT o.amount_ucr, o.account_id FROM reservation o
                                  WHERE o.org_id = p_org AND o.id = u.id OFFSET 0) r ON true
              LEFT JOIN LATERAL (SELECT true AS ended FROM ledger l WHERE l.org_id = p_org AND l.id = u.id OFFSET 0) e ON true
             WHERE u.account_id = a.account_id
             ORDER BY u.n
        LOOP
            v_ucr := CASE WHEN v_free >= 20 * w.amount_ucr THEN least(w.learned_ucr, w.amount_ucr) ELSE w.amount_ucr END;
            IF w.ended THEN
                v_answers[w.n] := ROW('ended', 0, v_free, a.balance_ucr)::hold_answer;
            ELSIF w.open_account = a.account_id THEN
                v_answers[w.n] := ROW('exists', w.open_ucr, v_free, a.balance_ucr)::hold_answer;
            ELSIF w.id < v_earliest OR w.id > v_latest THEN
                v_answers[w.n] := ROW('off_clock', 0, v_free, a.balance_ucr)::hold_answer;
            ELSIF v_blocked IS NOT NULL THEN
                v_answers[w.n] := ROW(v_blocked, 0, v_free, a.balance_ucr)::hold_answer;
            ELSIF v_ucr > a.balance_ucr THEN
                v_answers[w.n] := ROW('insufficient', 0, v_free, a.balance_ucr)::hold_answer;
            ELSIF v_ucr > v_free THEN
                v_answers[w.n] := ROW('busy', 0, v_free, a.balance_ucr)::hold_answer;
            ELSE
                v_free := v_free - v_ucr;
                a.held_ucr := a.held_ucr + v_ucr;
                a.open_count := a.open_count + 1;
                v_answers[w.n] := ROW('ok', v_ucr, v_free, a.balance_ucr)::hold_answer;
                v_held := true;
                v_changed := true;
            END IF;
        END LOOP;
        IF v_changed THEN
            PERFORM save_account(a);
        END IF;
    END LOOP;
    IF v_held THEN
        INSERT INTO price_pin (id, prices) SELECT DISTINCT md5(pins)::uuid, pins::jsonb FROM unnest(p_wishes) ON CONFLICT DO NOTHING;
        INSERT INTO reservation (org_id, id, account_id, owner_kind, owner_id, amount_ucr, prompt_ucr, forwarded, key_id, user_id,
                                 model, pin_id, created_at)
        SELECT p_org, u.id, u.account_id, 'instance', p_instance, u.held_ucr, u.prompt_ucr, true, u.key_id, u.user_id, u.model,
               md5(u.pins)::uuid, v_now
          FROM ROWS FROM (unnest(p_wishes), unnest(v_answers))
            AS u (id, account_id, amount_ucr, learned_ucr, prompt_ucr, key_id, user_id, model, pins, status, held_ucr,
                  available_ucr, balance_ucr)
         WHERE u.status = 'ok';
    END IF;
    RETURN v_answers;
END
$$;


-- "Hold at least": absolute, so that asking twice is asking once. Oldest call first where credits are short.
CREATE OR REPLACE FUNCTION extend_batch(p_org uuid, p_extensions extension_item[]) RETURNS hold_answer[]
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_accounts uuid[] := ARRAY(SELECT DISTINCT account_id FROM unnest(p_extensions));
    v_answers  hold_answer[] := array_fill(ROW('no_account', 0, 0, 0)::hold_answer, ARRAY[cardinality(p_extensions)]);
    v_now      timestamptz;
    v_blocked  text;
    v_open     bigint;
    v_more     bigint;
    v_free     bigint;
    v_changed  boolean;
    a          account;
    x          record;
BEGIN
    FOR a IN
        SELECT * FROM account WHERE org_id = p_org AND account_id = ANY (v_accounts) ORDER BY account_id FOR NO KEY UPDATE
    LOOP
        v_now := clock_timestamp();
        v_changed := a.next_change_at <= v_now;
        IF v_changed THEN
            a := bring_up_to(a, v_now);
        END IF;
        v_free := a.balance_ucr - a.held_ucr;
        v_blocked := blocked_because(a);
        FOR x IN
            SELECT u.n, u.id, u.at_least_ucr
              FROM unnest(p_extensions) WITH ORDINALITY AS u (id, account_id, at_least_ucr, n)
             WHERE u.account_id = a.account_id
             ORDER BY u.id, u.n
        LOOP
            SELECT amount_ucr INTO v_open
              FROM reservation
             WHERE org_id = p_org AND id = x.id AND account_id = a.account_id
               FOR NO KEY UPDATE;
            v_more := x.at_least_ucr - v_open;
            IF v_open IS NULL THEN
                v_answers[x.n] := ROW('ended', 0, v_free, a.balance_ucr)::hold_answer;
            ELSIF v_more <= 0 THEN
                v_answers[x.n] := ROW('exists', v_open, v_free, a.balance_ucr)::hold_answer;
            ELSIF v_blocked IS NOT NULL THEN
                v_answers[x.n] := ROW(v_blocked, v_open, v_free, a.balance_ucr)::hold_answer;
            ELSIF x.at_least_ucr > a.balance_ucr THEN
                v_answers[x.n] := ROW('insufficient', v_open, v_free, a.balance_ucr)::hold_answer;
            ELSIF v_more > v_free THEN
                v_answers[x.n] := ROW('busy', v_open, v_free, a.balance_ucr)::hold_answer;
            ELSE
                UPDATE reservation SET amount_ucr = x.at_least_ucr WHERE org_id = p_org AND id = x.id;
                v_free := v_free - v_more;
                a.held_ucr := a.held_ucr + v_more;
                v_answers[x.n] := ROW('ok', x.at_least_ucr, v_free, a.balance_ucr)::hold_answer;
                v_changed := true;
            END IF;
        END LOOP;
        IF v_changed THEN
            PERFORM save_account(a);
        END IF;
    END LOOP;
    RETURN v_answers;
END
$$;
