-- Setting credits aside. Every item is answered, in the order given:
-- ok · exists · ended · insufficient · busy · budget · concurrency · receivable · suspended · parked · fenced · off_clock
-- · no_account

-- A wish is held whole, on the first account of its order that can, within every budget that it falls under, or not at
-- all; the smaller, learned amount is enough while there is plenty. Its open row is all that a reservation is: with it
-- goes its amount onto held_ucr of one account and of its budgets. What it touches was locked by lock_for_batch, which
-- also said which budget periods these are.
CREATE OR REPLACE FUNCTION reserve_batch(p_org uuid, p_owner_kind text, p_owner uuid, p_periods integer[], p_wishes wish_item[])
RETURNS hold_answer[] LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_books   account[] := '{}';
    v_changed boolean[] := '{}';
    v_rooms   budget_room[] := budget_rooms(p_org, p_periods);
    v_now     timestamptz;
    v_answers hold_answer[];
    a         account;
BEGIN
    FOR a IN
        SELECT * FROM account
         WHERE org_id = p_org AND account_id = ANY (ARRAY(SELECT DISTINCT c FROM unnest(p_wishes) AS w, unnest(w.account_ids) AS c))
         ORDER BY account_id
    LOOP
        v_now := clock_timestamp();
        v_changed := v_changed || (a.next_change_at IS NOT NULL AND a.next_change_at <= v_now);
        IF v_changed[cardinality(v_changed)] THEN
            a := bring_up_to(a, v_now);
        END IF;
        v_books := v_books || a;
    END LOOP;
    v_now := clock_timestamp();
    v_answers := admit_together(p_org, v_now, v_books, v_rooms, p_wishes);
    IF v_answers IS NULL THEN
        v_answers := admit_one_by_one(p_org, v_now, v_books, v_rooms, p_wishes);
    END IF;
    PERFORM write_reservations(p_org, p_owner_kind, p_owner, v_now, v_rooms, p_wishes, v_answers);
    FOR i IN 1 .. cardinality(v_books) LOOP
        a := v_books[i];
        SELECT a.held_ucr + coalesce(sum(h.held_ucr), 0), a.open_count + count(*) INTO a.held_ucr, a.open_count
          FROM unnest(v_answers) AS h
         WHERE h.status = 'ok' AND h.account_id = a.account_id;
        IF v_changed[i] OR a.open_count > v_books[i].open_count THEN
            PERFORM save_account(a);
        END IF;
    END LOOP;
    RETURN v_answers;
END
$$;


-- Where one account has plenty for all of them, and every budget has: what the walk below would say, in one step.
-- NULL: it is not so simple.
CREATE OR REPLACE FUNCTION admit_together(p_org uuid, p_now timestamptz, p_books account[], p_rooms budget_room[], p_wishes wish_item[])
RETURNS hold_answer[] LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    a       account := p_books[1];
    v_free  bigint := a.balance_ucr - a.held_ucr;
    v_total bigint;
    v_most  bigint;
BEGIN
    IF cardinality(p_books) <> 1 OR blocked_because(a) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    SELECT sum(amount_ucr), max(amount_ucr) INTO v_total, v_most FROM unnest(p_wishes);
    IF v_free - v_total < 20 * v_most THEN
        RETURN NULL;
    END IF;
    PERFORM FROM unnest(p_rooms) AS r, unnest(p_wishes) AS w
      WHERE falls_under(w, r.scope, r.scope_id)
      GROUP BY r.id, r.room_ucr, r.room_open
     HAVING r.room_ucr - sum(w.amount_ucr) < 20 * max(w.amount_ucr) OR r.room_open < count(*);
    IF FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM FROM unnest(p_wishes) AS w
      WHERE w.id < first_id_at(p_now - interval '5 minutes') OR w.id > first_id_at(p_now + interval '5 minutes')
         OR EXISTS (SELECT FROM reservation o WHERE o.org_id = p_org AND o.id = w.id OFFSET 0)
         OR EXISTS (SELECT FROM ledger l WHERE l.org_id = p_org AND l.id = w.id OFFSET 0);
    IF FOUND OR (SELECT count(DISTINCT id) FROM unnest(p_wishes)) < cardinality(p_wishes) THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(
        SELECT ROW('ok', least(learned_ucr, amount_ucr), v_free - sum(least(learned_ucr, amount_ucr)) OVER (ORDER BY n), a.balance_ucr,
                   a.account_id, NULL, NULL)::hold_answer
          FROM unnest(p_wishes) WITH ORDINALITY AS w (id, account_ids, amount_ucr, learned_ucr, prompt_ucr, key_id, user_id, model,
                                                      feature, pin_id, ends_at, n)
         ORDER BY n);
END
$$;


-- In the order of arrival, each as if it were alone.
CREATE OR REPLACE FUNCTION admit_one_by_one(p_org uuid, p_now timestamptz, p_books account[], p_rooms budget_room[], p_wishes wish_item[])
RETURNS hold_answer[] LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_answers hold_answer[] := '{}';
    v_ids     uuid[] := '{}';
    v_answer  hold_answer;
    v_open    reservation;
    v_place   integer;
    w         wish_item;
BEGIN
    FOREACH w IN ARRAY p_wishes LOOP
        v_answer := NULL;
        SELECT * INTO v_open FROM reservation o WHERE o.org_id = p_org AND o.id = w.id;
        IF v_open.account_id = ANY (w.account_ids) THEN
            v_answer := ROW('exists', v_open.amount_ucr, 0, 0, v_open.account_id, NULL, NULL);
        ELSIF v_open.id IS NOT NULL THEN
            v_answer := ROW('ended', 0, 0, 0, w.account_ids[1], NULL, NULL);  -- the id is another call's
        ELSIF v_answers[array_position(v_ids, w.id)].status = 'ok' THEN
            v_answer := v_answers[array_position(v_ids, w.id)];
            v_answer.status := 'exists';
        ELSIF EXISTS (SELECT FROM ledger l WHERE l.org_id = p_org AND l.id = w.id) THEN
            v_answer := ROW('ended', 0, 0, 0, w.account_ids[1], NULL, NULL);
        ELSIF is_off_clock(w.id, p_now) THEN
            v_answer := ROW('off_clock', 0, 0, 0, w.account_ids[1], NULL, NULL);
        END IF;
        IF v_answer IS NULL THEN
            v_answer := admit(w, p_books, p_rooms);
            IF v_answer.status = 'ok' THEN
                v_place := place_of(p_books, v_answer.account_id);
                p_books[v_place].held_ucr := p_books[v_place].held_ucr + v_answer.held_ucr;
                FOR r IN 1 .. coalesce(cardinality(p_rooms), 0) LOOP
                    IF falls_under(w, p_rooms[r].scope, p_rooms[r].scope_id) THEN
                        p_rooms[r].room_ucr := p_rooms[r].room_ucr - v_answer.held_ucr;
                        p_rooms[r].room_open := p_rooms[r].room_open - 1;
                    END IF;
                END LOOP;
            END IF;
        ELSE
            v_place := place_of(p_books, v_answer.account_id);
            v_answer.balance_ucr := coalesce(p_books[v_place].balance_ucr, 0);
            v_answer.available_ucr := coalesce(p_books[v_place].balance_ucr - p_books[v_place].held_ucr, 0);
        END IF;
        v_answers := v_answers || v_answer;
        v_ids := v_ids || w.id;
    END LOOP;
    RETURN v_answers;
END
$$;


CREATE OR REPLACE FUNCTION place_of(p_books account[], p_account uuid) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    FOR i IN 1 .. cardinality(p_books) LOOP
        IF p_books[i].account_id = p_account THEN
            RETURN i;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;


-- One wish on its own. Budgets first: what they refuse, no account can pay. Then the accounts, in its order; where none
-- can, the answer is the one that says most: it would fit with nothing held, else the first one's.
CREATE OR REPLACE FUNCTION admit(w wish_item, p_books account[], p_rooms budget_room[]) RETURNS hold_answer LANGUAGE plpgsql AS $$
DECLARE
    v_best  hold_answer := ROW('no_account', 0, 0, 0, w.account_ids[1], NULL, NULL);
    v_tight bigint;
    v_busy  budget_room;
    v_ucr   bigint;
    v_free  bigint;
    v_why   text;
    a       account;
    r       budget_room;
BEGIN
    FOREACH r IN ARRAY coalesce(p_rooms, '{}') LOOP
        CONTINUE WHEN NOT falls_under(w, r.scope, r.scope_id);
        IF r.room_open <= 0 THEN
            RETURN ROW('concurrency', 0, 0, 0, w.account_ids[1], r.scope, NULL)::hold_answer;
        END IF;
        v_tight := least(v_tight, r.room_ucr);
    END LOOP;
    FOR i IN 1 .. cardinality(w.account_ids) LOOP
        SELECT * INTO a FROM unnest(p_books) AS b WHERE b.account_id = w.account_ids[i];
        CONTINUE WHEN a.account_id IS NULL;
        v_free := a.balance_ucr - a.held_ucr;
        v_ucr := CASE WHEN least(v_free, v_tight) >= 20 * w.amount_ucr THEN least(w.learned_ucr, w.amount_ucr) ELSE w.amount_ucr END;
        v_why := blocked_because(a);
        IF v_why IS NULL AND v_ucr > v_tight THEN
            SELECT u.* INTO r FROM unnest(p_rooms) AS u
             WHERE falls_under(w, u.scope, u.scope_id) AND u.room_ucr < v_ucr
             ORDER BY u.max_ucr - u.used_ucr, u.id LIMIT 1;
            RETURN ROW(CASE WHEN r.used_ucr + v_ucr > r.max_ucr THEN 'budget' ELSE 'busy' END, 0, greatest(v_tight, 0),
                       greatest(r.max_ucr - r.used_ucr, 0), a.account_id, r.scope, r.resets_at)::hold_answer;
        ELSIF v_why IS NULL THEN
            v_why := CASE WHEN v_ucr > a.balance_ucr THEN 'insufficient' WHEN v_ucr > v_free THEN 'busy' ELSE 'ok' END;
            IF v_why = 'ok' THEN
                RETURN ROW('ok', v_ucr, v_free - v_ucr, a.balance_ucr, a.account_id, NULL, NULL)::hold_answer;
            END IF;
        END IF;
        IF v_best.status = 'no_account' OR v_why = 'busy' AND v_best.status <> 'busy' THEN
            v_best := ROW(v_why, 0, v_free, a.balance_ucr, a.account_id, NULL, NULL);
        END IF;
    END LOOP;
    RETURN v_best;
END
$$;


CREATE OR REPLACE FUNCTION write_reservations(p_org uuid, p_owner_kind text, p_owner uuid, p_now timestamptz, p_rooms budget_room[],
                                              p_wishes wish_item[], p_answers hold_answer[]) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    WITH held AS MATERIALIZED (
        SELECT u.*, CASE WHEN p_rooms <> '{}' THEN
                   ARRAY(SELECT r.id FROM unnest(p_rooms) AS r
                          WHERE falls_under(ROW(u.id, u.account_ids, u.amount_ucr, u.learned_ucr, u.prompt_ucr, u.key_id, u.user_id,
                                                u.model, u.feature, u.pin_id, u.ends_at)::wish_item, r.scope, r.scope_id)) END AS budgets
          FROM ROWS FROM (unnest(p_wishes), unnest(p_answers))
            AS u (id, account_ids, amount_ucr, learned_ucr, prompt_ucr, key_id, user_id, model, feature, pin_id, ends_at,
                  status, held_ucr, available_ucr, balance_ucr, account_id, budget_scope, resets_at)
         WHERE u.status = 'ok'
    ), booked AS (
        UPDATE budget_period AS p
           SET held_ucr = p.held_ucr + b.ucr, open_count = p.open_count + b.calls
          FROM (SELECT budget, sum(held_ucr) AS ucr, count(*) AS calls FROM held, unnest(budgets) AS budget GROUP BY budget) AS b
         WHERE p.org_id = p_org AND p.id = b.budget
    )
    INSERT INTO reservation (org_id, id, account_id, owner_kind, owner_id, expires_at, amount_ucr, spent_ucr, key_id,
                             user_id, model, feature, pin_id, budgets, created_at)
    SELECT p_org, id, account_id, p_owner_kind, p_owner, ends_at, held_ucr, prompt_ucr,
           key_id, user_id, model, nullif(feature, ''), pin_id, nullif(budgets::text, '{}'), p_now
      FROM held;
END
$$;
